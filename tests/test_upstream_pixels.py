"""Frames, labels, order and pixels are those of SlowFast's own datasets, given the same draws.

SlowFast's code runs in a process of its own, in the tree of the git base. There its random
functions draw from our generator: its draws are then ours exactly if both ask for the same
distributions in the same order.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
import pytest
import torch
from clip_files import read_counter, write_video

from actionrec.data.annotations import read_clips
from actionrec.data.batching import view_batches
from actionrec.data.dataset import TestDataset, TrainDataset, ValDataset
from actionrec.data.decoding import open_source
from actionrec.data.sampling import Linspace, frame_sampler
from actionrec.data.views import Cutter, train_window
from actionrec.models.video_input import VideoInput
from actionrec.randomness import sample_rng
from actionrec.types import DataSettings, InputSettings

MEAN, STD = (0.45, 0.4, 0.35), (0.225, 0.2, 0.25)
FRAME_SIZES = [(360, 640), (640, 360), (240, 320), (1080, 1920), (720, 1280), (257, 300)]
NUM_CLASSES, ALPHA, SEED = 12, 4, 7
# Number of frames, height, width: landscape and portrait, short and long, nearly square.
CLIPS = {
    "WIDE": (90, 45, 80),
    "ABLE": (5, 48, 64),
    "TALL": (61, 80, 45),
    "ONE": (1, 64, 36),
    "FITS": (15, 50, 50),
}


@contextlib.contextmanager
def drawing_from(rng: np.random.Generator) -> Iterator[None]:
    """Python's and numpy's random functions, as SlowFast calls them, draw from `rng`."""
    with (
        mock.patch("random.randint", lambda low, high: int(rng.integers(low, high + 1))),
        mock.patch("random.uniform", rng.uniform),
        mock.patch("numpy.random.randint", lambda low, high: int(rng.integers(low, high))),
        mock.patch("numpy.random.uniform", rng.uniform),
    ):
        yield


def grey_levels(ours: torch.Tensor, theirs: torch.Tensor) -> np.ndarray:
    """Absolute differences of two normalised (3, T, H, W), before normalisation."""
    scale = 255 * np.array(STD).reshape(3, 1, 1, 1)
    return np.abs((ours.double() - theirs.double()).numpy()) * scale


class Errors:
    """The largest error of `exact`, and the largest mean error of a view of `fast`."""

    def __init__(self) -> None:
        self.exact = self.fast = 0.0

    def add(self, resample: str, errors: np.ndarray) -> None:
        found = errors.max() if resample == "exact" else errors.mean()
        setattr(self, resample, max(getattr(self, resample), float(found)))


def two_hundred_draws() -> dict[str, float]:
    from slowfast.datasets import utils

    errors, to_input = Errors(), VideoInput(InputSettings(mean=MEAN, std=STD))
    for number in range(200):
        height, width = FRAME_SIZES[number % len(FRAME_SIZES)]
        frame = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
        inverse = number % 2 == 1
        settings = DataSettings(
            Path(), NUM_CLASSES, 1, 1, train_jitter_px=(256, 340), inverse_uniform=inverse
        )
        with drawing_from(np.random.default_rng([SEED, number])):
            theirs = utils.spatial_sampling(
                utils.tensor_normalize(
                    torch.from_numpy(frame[None]), list(MEAN), list(STD)
                ).permute(3, 0, 1, 2),
                min_scale=256,
                max_scale=340,
                crop_size=224,
                inverse_uniform_sampling=inverse,
            )
        window = train_window(height, width, settings, np.random.default_rng([SEED, number]))
        for resample in ("exact", "fast"):
            cut = Cutter(lambda h, w, window=window: window, resample)(frame)
            ours = to_input(torch.from_numpy(cut)[None, None])[0][0]
            errors.add(resample, grey_levels(ours, theirs))
    return vars(errors)


def write_clips(folder: Path) -> None:
    """Clips of noise as PNG, whose labels change from frame to frame; the last two interleave."""
    rows: dict[str, list[str]] = {}
    for number, (clip_id, (num_frames, height, width)) in enumerate(CLIPS.items()):
        (folder / clip_id).mkdir(parents=True)
        rng = np.random.default_rng(number)
        for k in range(num_frames):
            path = f"{clip_id}/{clip_id}_t{k + 1:06d}.png"
            picture = rng.integers(0, 256, (height, width, 3), np.uint8)
            cv2.imwrite(str(folder / path), picture)
            labels = f'"{k % 7},{7 + number}"' if k % 3 else f"{k % 7}"
            rows.setdefault(clip_id, []).append(f"{clip_id} {number} {k + 1} {path} {labels}")
    *first, one, other = rows.values()
    lines = [line for clip in first for line in clip]
    lines += [*other[:4], *one, *other[4:]]
    header = "original_vido_id video_id frame_id path labels"
    for split in ("train", "val"):
        (folder / f"{split}.csv").write_text("\n".join([header, *lines]) + "\n")


def charades(folder: Path) -> dict[str, object]:
    from slowfast.config.defaults import get_cfg
    from slowfast.datasets.charades import Charades

    # SlowFast normalises these frames as BGR, and reverses the channels after that.
    cfg, data = get_cfg(), dict(MEAN=list(MEAN[::-1]), STD=list(STD[::-1]))
    data |= dict(PATH_TO_DATA_DIR=str(folder), PATH_PREFIX=str(folder), NUM_FRAMES=8)
    data |= dict(SAMPLING_RATE=2, TRAIN_JITTER_SCALES=[36, 44], TRAIN_CROP_SIZE=32)
    data |= dict(TEST_CROP_SIZE=40, REVERSE_INPUT_CHANNEL=True, INV_UNIFORM_SAMPLE=True)
    for key, value in data.items():
        cfg.DATA[key] = value
    cfg.MODEL.ARCH, cfg.MODEL.NUM_CLASSES, cfg.SLOWFAST.ALPHA = "slowfast", NUM_CLASSES, ALPHA
    theirs = {split: Charades(cfg, split) for split in ("train", "val", "test")}

    table = read_clips(folder / "train.csv", num_classes=NUM_CLASSES)
    settings = DataSettings(
        folder, NUM_CLASSES, 8, 2, frame_root=folder, train_jitter_px=(36, 44), train_crop_px=32,
        test_crop_px=40, inverse_uniform=True,
    )  # fmt: skip
    source = open_source(table, settings)
    to_input = VideoInput(InputSettings(mean=MEAN, std=STD, alpha=ALPHA))
    errors, differ = Errors(), []

    def compare(resample: str, frames: torch.Tensor, pathways: list[torch.Tensor]) -> None:
        for ours, other in zip(to_input(frames[None]), pathways, strict=True):
            errors.add(resample, grey_levels(ours[0], other))

    for clip in range(len(table)):
        wanted = [
            frame_sampler(settings).spread(int(table.num_frames[clip]), view, 10).tolist()
            for view in range(10)
        ]
        views = {
            resample: next(
                view_batches(
                    TestDataset(table, source, replace(settings, resample=resample))[clip],
                    30,
                    "cpu",
                )
            )[0]
            for resample in ("exact", "fast")
        }
        labels = ValDataset(table, source, settings)[clip].targets
        for view in range(30):
            index = clip * 30 + view
            frames = theirs["test"].get_seq_frames(index)
            paths = [theirs["test"]._path_to_videos[index][k] for k in frames]
            expected = table.frame_paths(clip, wanted[view // 3])
            pathways, label, *_ = theirs["test"][index]
            same = frames == wanted[view // 3] and np.array_equal(label, labels)
            if not same or paths != [str(folder / path) for path in expected]:
                differ.append(f"test {table.ids[clip]} {view}")
            for resample, cut in views.items():
                compare(resample, cut[view], pathways)
        with drawing_from(np.random.default_rng(0)):
            if not np.array_equal(theirs["val"][clip][1], labels):
                differ.append(f"val {table.ids[clip]}")
        for epoch in range(20):
            with drawing_from(sample_rng(SEED, epoch, clip)):
                pathways, label, *_ = theirs["train"][clip]
            for resample in ("exact", "fast"):
                drawn = TrainDataset(table, source, replace(settings, resample=resample), SEED)
                sample = drawn[epoch, clip]
                compare(resample, torch.from_numpy(sample.frames), pathways)
                if not np.array_equal(label, sample.targets):
                    differ.append(f"train {table.ids[clip]} {epoch}")
    lengths = [len(theirs[split]) for split in ("train", "val", "test")]
    return {**vars(errors), "differ": differ, "lengths": lengths}


def kinetics(video: Path) -> dict[str, object]:
    from slowfast.datasets import decoder
    from slowfast.datasets.video_container import get_video_container

    differ = []
    for num_frames, rate in [(8, 2), (32, 2), (8, 8), (1, 4), (13, 6)]:
        sampler, span = Linspace(num_frames, rate), num_frames * rate
        for n in {1, max(num_frames - 1, 1), num_frames, span, span + 1, 10 * num_frames, 1777}:
            numbers = torch.arange(n)
            pairs = [(view, num_views) for num_views in (1, 2, 10) for view in range(num_views)]
            for view, num_views in pairs:
                # Only there is one view the middle.
                ends = decoder.get_start_end_idx(n, span, view, num_views, num_views == 1)
                theirs = decoder.temporal_sampling(numbers, *ends, num_frames)
                if theirs.tolist() != sampler.spread(n, view, num_views).tolist():
                    differ.append([num_frames, rate, n, view, num_views])
            for seed in range(20):
                with drawing_from(np.random.default_rng(seed)):
                    ends = decoder.get_start_end_idx(n, span, -1, 0)
                theirs = decoder.temporal_sampling(numbers, *ends, num_frames)
                if theirs.tolist() != sampler.random(n, np.random.default_rng(seed)).tolist():
                    differ.append([num_frames, rate, n, seed])
    later = set()
    for view in range(10):
        container = get_video_container(str(video))
        frames = decoder.decode(container, 2, 8, view, 10, target_fps=30)
        theirs = np.array([read_counter(frame) for frame in frames.numpy()])
        later |= set((theirs - Linspace(8, 2).spread(200, view, 10)).tolist())
    return {"differ": differ, "later": sorted(later)}


@pytest.fixture(scope="module")
def found(git_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    folder = tmp_path_factory.mktemp("upstream_pixels")
    write_clips(folder / "clips")
    write_video(folder / "video.mp4", times=[20 * k for k in range(200)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", __file__, folder],
        cwd=git_base,
        env={**os.environ, "PYTHONPATH": str(git_base)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("part", ["draws", "charades"])
def test_exact_pixels_are_slowfasts_and_fast_ones_are_near(part, found):
    assert found[part]["exact"] <= 1e-3
    assert 0.2 < found[part]["fast"] <= 0.3


def test_frames_labels_order_and_lengths_are_those_of_slowfasts_charades(found):
    assert found["charades"]["differ"] == []
    assert found["charades"]["lengths"] == [len(CLIPS), len(CLIPS), len(CLIPS) * 30]


def test_linspace_indices_are_slowfasts(found):
    assert found["kinetics"]["differ"] == []


def test_where_slowfast_decodes_a_part_of_a_video_its_frames_are_at_most_one_later(found):
    assert found["kinetics"]["later"] in ([0], [0, 1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    base = Path(sys.argv[1])
    report = {
        "draws": two_hundred_draws(),
        "charades": charades(base / "clips"),
        "kinetics": kinetics(base / "video.mp4"),
    }
    (base / "found.json").write_text(json.dumps(report))
    print(json.dumps(report))

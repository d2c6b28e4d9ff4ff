"""One side of the comparison of views: `python -m actionrec.bench.view_costs SIDE FOLDER`.

Writes FOLDER/SIDE.json: milliseconds, and MB (10^6 bytes). A clip is 160 frames of 640x360 pixels;
SlowFast 8x8 R50's sampling is used, 32 frames at a rate of 2, and 10 x 3 views.
"""

from __future__ import annotations

import importlib
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader

from actionrec.data.annotations import read_clips
from actionrec.data.batching import train_loader, view_batches
from actionrec.data.dataset import TestDataset, TrainDataset
from actionrec.data.decoding import open_source
from actionrec.types import DataSettings, LoaderSettings

NUM_CLIPS, NUM_CLIP_FRAMES, NUM_WORKERS, BATCH = 24, 160, 2, 4


def write_clips(folder: Path) -> None:
    """A slow pan over a soft picture with grain, as JPEG; all clips are the same files.

    CLIP0 is there as H.264 too, with the options that libx264 has when it is given none.
    """
    rng = np.random.default_rng(0)
    scene = cv2.resize(rng.integers(0, 256, (40, 80, 3), np.uint8), (960, 540))
    rows = []
    with av.open(str(folder / "CLIP0.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for k in range(NUM_CLIP_FRAMES):
            grain = rng.normal(0, 5, (360, 640, 3))
            window = scene[k : k + 360, 2 * k : 2 * k + 640]
            picture = (window + grain).clip(0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{k + 1}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
            out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            rows.append(f"{k + 1} {k + 1}.jpg {k % 3}")
        out.mux(stream.encode())
    lines = ["original_vido_id video_id frame_id path labels"]
    lines += [f"CLIP{clip} {clip} {row}" for clip in range(NUM_CLIPS) for row in rows]
    for split in ("train", "val"):
        (folder / f"{split}.csv").write_text("\n".join(lines) + "\n")
    (folder / "test.csv").write_text("CLIP0.mp4 0\n")  # as SlowFast's datasets of videos want it


def our_costs(folder: Path) -> dict[str, float]:
    """`decoded`: the same frames, decoded and thrown away; of the mp4, not converted to RGB."""
    table = read_clips(folder / "train.csv", num_classes=3)
    settings = DataSettings(folder, 3, num_frames=32, sampling_rate=2, frame_root=folder)
    source = open_source(table, settings)
    video = open_source(table, replace(settings, source="video", video_root=folder))
    costs: dict[str, float] = {}

    def decode(num_frames: int) -> None:
        source.read(0, np.arange(num_frames), each=lambda frame: frame[:1, :1])

    for resample in ("fast", "exact"):
        of_clip = replace(settings, resample=resample)
        test, train = TestDataset(table, source, of_clip), TrainDataset(table, source, of_clip, 0)
        measured = _view_costs(test) | _clip_costs(train)
        costs |= {f"{name} {resample}": cost for name, cost in measured.items()}
    short = TrainDataset(table, source, replace(settings, num_frames=8, sampling_rate=8), 0)
    costs["short clip fast"] = _median_ms(lambda: short[0, 0], 15)
    costs["clip decoded"] = _median_ms(lambda: decode(32), 9)
    costs["short clip decoded"] = _median_ms(lambda: decode(8), 15)
    costs["loader decoded"] = costs["clip decoded"] / NUM_WORKERS
    for resample in ("fast", "exact"):  # after those whose memory is measured
        test = TestDataset(table, video, replace(settings, resample=resample))
        costs[f"mp4 views {resample}"] = _view_costs(test)["views"]
    costs["mp4 decoded"] = _median_ms(lambda: _decode_video(folder / "CLIP0.mp4"), 3)
    return costs | {"views decoded": _median_ms(lambda: decode(NUM_CLIP_FRAMES), 3)}


def _decode_video(path: Path) -> None:
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for _ in container.decode(video=0):
            pass


def _view_costs(test: TestDataset) -> dict[str, float]:
    before = _memory_mb("VmRSS")

    def views() -> None:
        for _ in view_batches(test[0], 1, "cpu"):
            pass

    return {"views": _median_ms(views, 3), "peak": _memory_mb("VmHWM") - before}


def _clip_costs(train: TrainDataset) -> dict[str, float]:
    return {
        "clip": _median_ms(lambda: train[0, 0], 9),
        "bytes": train[0, 0].frames.nbytes / 1e6,
        "loader": _ms_a_clip(train_loader(train, LoaderSettings(BATCH, 1, NUM_WORKERS))),
    }


def upstream_costs(folder: Path) -> dict[str, float]:
    """SlowFast's Charades dataset, in whose tree this runs; its views are one item each.

    Of an mp4 they are those of its Kinetics dataset.
    """
    config = importlib.import_module("slowfast.config.defaults")
    charades: Any = importlib.import_module("slowfast.datasets.charades").Charades
    kinetics: Any = importlib.import_module("slowfast.datasets.kinetics").Kinetics
    cfg = config.get_cfg()
    values = {"PATH_TO_DATA_DIR": str(folder), "PATH_PREFIX": str(folder), "NUM_FRAMES": 32}
    for key, value in (values | {"SAMPLING_RATE": 2, "TEST_CROP_SIZE": 256}).items():
        cfg.DATA[key] = value
    cfg.MODEL.ARCH, cfg.MODEL.NUM_CLASSES, cfg.SLOWFAST.ALPHA = "slowfast", 3, 4
    test, train = charades(cfg, "test"), charades(cfg, "train")
    before = _memory_mb("VmRSS")

    def views(dataset: Any) -> None:
        for view in range(30):
            dataset[view]

    costs = {"views": _median_ms(lambda: views(test), 1), "peak": _memory_mb("VmHWM") - before}
    costs["mp4 views"] = _median_ms(lambda: views(kinetics(cfg, "test")), 1)
    costs["clip"] = _median_ms(lambda: train[0], 5)
    costs["bytes"] = sum(pathway.nbytes for pathway in train[0][0]) / 1e6
    loader = DataLoader(train, BATCH, num_workers=NUM_WORKERS, persistent_workers=True)
    costs["loader"] = _ms_a_clip(loader)
    cfg.DATA.NUM_FRAMES, cfg.DATA.SAMPLING_RATE = 8, 8
    return costs | {"short clip": _median_ms(lambda: train[0], 9)}


def _median_ms(call: Callable[[], object], times: int) -> float:
    took = []
    for _ in range(times):
        started = time.perf_counter()
        call()
        took.append(time.perf_counter() - started)
    return 1000 * statistics.median(took)


def _ms_a_clip(loader: Iterable[Any]) -> float:
    """Of the second pass: in the first one the workers start."""
    for _ in range(2):
        started = time.perf_counter()
        for _ in loader:
            pass
    return 1000 * (time.perf_counter() - started) / NUM_CLIPS


def _memory_mb(name: str) -> float:
    """VmRSS, what the process holds now, or VmHWM, the most that it has held; 0 beside Linux."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.is_file() else []
    return next((int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(name)), 0.0)


if __name__ == "__main__":
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    side, place = sys.argv[1], Path(sys.argv[2])
    found = {"ours": our_costs, "upstream": upstream_costs}[side](place)
    (place / f"{side}.json").write_text(json.dumps(found))

"""What the frames of one clip cost, from JPEG files and from an mp4, as rows.

SlowFast's way (all files read by OpenCV; all frames of the window decoded and converted) and ours
take turns in this process, with one thread; the files are in the page cache. What becomes of the
frames is measured in actionrec/bench/views.py.
"""

from __future__ import annotations

import importlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import av
import cv2
import numpy as np
import torch

from actionrec.bench.rows import Row
from actionrec.data.annotations import read_clips
from actionrec.data.images import ImageFolders, decode_image
from actionrec.data.video import VideoFiles, decode_forward

HEIGHT, WIDTH, NUM_CLIP_FRAMES, FPS = 360, 640, 300, 30
NUM_FRAMES, SAMPLING_RATE, NUM_WINDOWS = 32, 2, 10


class Ways(NamedTuple):
    """SlowFast's way, where its tree is given, ours, and the decoder alone."""

    theirs: Callable[[], object] | None
    ours: Callable[[], object]
    alone: Callable[[], object]


def measure(git_tree: Path | None = None, rounds: int = 7) -> list[Row]:
    """The medians of `rounds`, about 6 s each with SlowFast's side, in milliseconds a clip.

    git_tree: a tree of SlowFast's repository; without one its column is None. The ceiling is
    decoding alone: JPEGs in memory, and of a video the same frames, none of them converted.
    """
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_clip(folder)
        cv2.setNumThreads(0)
        torch.set_num_threads(1)
        return [
            _row("32 frames from JPEGs, ms", rounds, 1, _image_ways(folder, 32, git_tree)),
            _row("8 frames from JPEGs, ms", rounds, 1, _image_ways(folder, 8, git_tree)),
            _row("32 frames of mp4, ms", rounds, NUM_WINDOWS, _video_ways(folder, git_tree)),
        ]


def write_clip(folder: Path) -> None:
    """A slow pan over a soft picture, an animal-sized patch that moves, and light grain."""
    rng = np.random.default_rng(0)
    scene = cv2.resize(rng.integers(0, 256, (40, 80, 3), np.uint8), (1280, 540))
    patch = cv2.resize(rng.integers(0, 256, (9, 9, 3), np.uint8), (120, 120))
    lines = ["original_vido_id video_id frame_id path labels"]
    with av.open(str(folder / "CLIP.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for k in range(NUM_CLIP_FRAMES):
            top, left = k // 2, 2 * k
            frame = scene[top : top + HEIGHT, left : left + WIDTH].astype(np.float32)
            y, x = int(120 + 100 * np.cos(k / 17)), int(260 + 250 * np.sin(k / 25))
            frame[y : y + 120, x : x + 120] = patch
            rgb = (frame + rng.normal(0, 2, frame.shape)).clip(0, 255).astype(np.uint8)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
            cv2.imwrite(
                str(folder / f"{k + 1}.jpg"), rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85]
            )
            lines.append(f"CLIP 0 {k + 1} {k + 1}.jpg 0")
        out.mux(stream.encode())
    (folder / "train.csv").write_text("\n".join(lines) + "\n")


def _image_ways(folder: Path, num_frames: int, git_tree: Path | None) -> Ways:
    source = ImageFolders(read_clips(folder / "train.csv", num_classes=1), folder.resolve())
    wanted = SAMPLING_RATE * np.arange(num_frames)
    paths = [folder / f"{k + 1}.jpg" for k in wanted]
    files = [path.read_bytes() for path in paths]
    pixels = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    utils = _upstream(git_tree, "utils")
    return Ways(
        utils and (lambda: utils.retry_load_images([str(path) for path in paths])),
        lambda: source.read(0, wanted),
        lambda: [decode_image(data, "", lambda *_: pixels) for data in files],
    )


def _video_ways(folder: Path, git_tree: Path | None) -> Ways:
    """Each reads one window after another, from the start of the clip to its end."""
    path = str(folder / "CLIP.mp4")
    source = VideoFiles(read_clips(folder / "train.csv", num_classes=1), folder.resolve())
    room = NUM_CLIP_FRAMES - NUM_FRAMES * SAMPLING_RATE
    starts = [room * k // NUM_WINDOWS for k in range(NUM_WINDOWS)]
    windows = [start + SAMPLING_RATE * np.arange(NUM_FRAMES) for start in starts]
    with av.open(path) as container:
        times = np.sort([p.pts for p in container.demux(video=0) if p.pts is not None])
    decoder, files = _upstream(git_tree, "decoder"), _upstream(git_tree, "video_container")

    def decode_theirs() -> None:
        for k in range(NUM_WINDOWS):
            container = files.get_video_container(path)
            decoder.decode(container, SAMPLING_RATE, NUM_FRAMES, k, NUM_WINDOWS)

    def decode_ours() -> None:
        for window in windows:
            source.read(0, window)

    def decode_alone() -> None:
        for window in windows:
            with av.open(path) as container:
                stream = container.streams.video[0]
                stream.codec_context.thread_count = 1
                for _ in decode_forward(container, stream, 0, times[window], leave_out=True):
                    pass

    return Ways(decoder and decode_theirs, decode_ours, decode_alone)


def _upstream(git_tree: Path | None, module: str) -> Any:
    """A module of slowfast.datasets, from `git_tree`; None where there is none."""
    if git_tree is None:
        return None
    sys.path.insert(0, str(git_tree.resolve()))
    try:
        return importlib.import_module(f"slowfast.datasets.{module}")
    finally:
        sys.path.pop(0)


def _row(name: str, rounds: int, num_clips: int, ways: Ways) -> Row:
    """num_clips: that one call of each way reads."""
    took: dict[Callable[[], object], list[float]] = {way: [] for way in ways if way is not None}
    for _ in range(rounds):
        for way, times in took.items():
            way()  # finds the caches as another way left them
            started = time.perf_counter()
            way()
            times.append(1000 * (time.perf_counter() - started) / num_clips)
    cost = {way: statistics.median(times) for way, times in took.items()}
    ours, theirs = cost[ways.ours], cost[ways.theirs] if ways.theirs else None
    return Row(name, theirs, ours, theirs and theirs / ours, cost[ways.alone] / ours)

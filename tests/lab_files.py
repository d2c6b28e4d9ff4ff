"""A small lab: videos of drawn animals, and what was observed in them as BORIS exports it."""

from __future__ import annotations

import csv
from pathlib import Path

import av
import numpy as np

from actionrec.data.demo_labels import CLASSES, DemoClip
from actionrec.data.demo_scenes import draw_clip

FPS = 25
HEADER = (
    "Observation id,Observation date,Description,Observation duration,Observation type,Source,"
    "Time offset (s),Media duration (s),FPS,Subject,Behavior,Behavioral category,Modifier #1,"
    "Behavior type,Time,Media file name,Image index,Image file path,Comment"
).split(",")


def scene(name: str, num_frames: int, seed: int) -> np.ndarray:
    """(T, 96, 128, 3) uint8 RGB of an animal that does what the class of this name is."""
    label = next(i for i, shown in enumerate(CLASSES) if shown.name == name)
    clip = DemoClip("LAB", seed, "train", (label,), num_frames)
    return draw_clip(clip, np.random.default_rng(seed))


def write_lab_video(path: Path, acts: list[tuple[str, float]], seed: int) -> None:
    """One act after the other, each for so many seconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"bf": "2", "g": "50"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for number, (name, seconds) in enumerate(acts):
            for picture in scene(name, round(seconds * FPS), 100 * seed + number):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def boris_rows(video: str, acts: list[tuple[str, float]]) -> list[list[str]]:
    """START and STOP of each act, as BORIS 8 writes them."""
    length = f"{sum(seconds for _, seconds in acts):.3f}"
    source = f"player #1:/home/lab/{video}"
    rows, now = [], 0.0
    for name, seconds in acts:
        for kind, time in (("START", now), ("STOP", now + seconds)):
            rows.append(
                [Path(video).stem, "2024-05-02 10:00:00", "", length, "Media file(s)", source, "0"]
                + [length, "25.000", "No focal subject", name, "", "", kind, f"{time:.3f}"]
                + [f"/home/lab/{video}", str(round(time * FPS)), "NA", ""]
            )
        now += seconds
    return rows


def make_lab(root: Path, videos: dict[str, list[tuple[str, float]]]) -> Path:
    """Write `root`/videos and the export, whose path is returned."""
    rows = []
    for seed, (name, acts) in enumerate(videos.items()):
        write_lab_video(root / "videos" / name, acts, seed)
        rows += boris_rows(name, acts)
    path = root / "observations.tsv"
    with path.open("w", newline="") as file:
        csv.writer(file, delimiter="\t").writerows([HEADER, *rows])
    return path

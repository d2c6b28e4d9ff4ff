"""Makes the sample data, without a download: `python -m actionrec.data.demo --out data/demo`.

In Animal Kingdom's formats: <out>/annot/{train.csv,val.csv,df_action.xlsx}, and the same pictures
as <out>/image/<id>/<id>_t000001.jpg and <out>/video/<id>.mp4 (H.264). <out>/demo.json says what
was made, with a hash over the files: with it, a complete folder is left as it is, and only what
is missing or different is written again after an interruption or a change.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import av
import cv2
import numpy as np

from actionrec.data.class_table import class_table_bytes
from actionrec.data.demo_labels import CLASSES, CUTS, DemoClip, count_clips, plan_clips
from actionrec.data.demo_scenes import HEIGHT, WIDTH, draw_clip
from actionrec.errors import UserError
from actionrec.progress import Progress

VERSION = 1  # raise it when other pixels or labels come out: folders made before are made again
FPS = 25
CSV_HEADER = "original_vido_id video_id frame_id path labels type"


def make_demo(out: Path, seed: int = 0, *, clips_per_split: int | None = None) -> bool:
    """Write the sample data into `out`. clips_per_split: only so many of each; None means all.

    Returns False when all was there already. Raises UserError when `out` holds files that are not
    sample data, or cannot be written.
    """
    clips = _first_of_each(plan_clips(seed), clips_per_split)
    stamp = {
        "made_by": "actionrec.data.demo",
        "version": VERSION,
        "seed": seed,
        "clips": len(clips),
    }
    stamp_file = out / "demo.json"
    _refuse_foreign(out, stamp_file)
    if _read_stamp(stamp_file) == {**stamp, "sha256": _hash_files(out, clips)}:
        return False
    try:
        _write(stamp_file, json.dumps(stamp).encode())
        for clip in Progress(len(clips), "sample data", "clip").over(clips):
            _write_clip(out, clip, seed)
        for path, content in _annotation_files(clips):
            _write(out / path, content)
        _write(stamp_file, json.dumps({**stamp, "sha256": _hash_files(out, clips)}).encode())
    except OSError as error:
        raise UserError(
            f"--out {out}: cannot be written ({error}); choose another folder"
        ) from error
    return True


def _first_of_each(clips: list[DemoClip], limit: int | None) -> list[DemoClip]:
    splits = ([clip for clip in clips if clip.split == split] for split in ("train", "test"))
    return [clip for of_split in splits for clip in of_split[:limit]]


def _refuse_foreign(out: Path, stamp_file: Path) -> None:
    if out.is_dir() and not stamp_file.is_file() and any(out.iterdir()):
        raise UserError(
            f"--out {out}: holds files but no demo.json, so it was not made by this command; "
            "choose another folder, or empty it"
        )


def _read_stamp(stamp_file: Path) -> object:
    try:
        return json.loads(stamp_file.read_bytes())
    except (OSError, ValueError):
        return None


def _hash_files(out: Path, clips: Sequence[DemoClip]) -> str | None:
    """Over the names and bytes of all files that belong to `clips`; None when one is missing."""
    paths = [f"annot/{name}" for name in ("train.csv", "val.csv", "df_action.xlsx")]
    for clip in clips:
        paths.append(f"video/{clip.clip_id}.mp4")
        paths += [f"image/{_frame_path(clip, t + 1)}" for t in range(clip.num_frames)]
    digest = hashlib.sha256()
    for path in paths:
        try:
            content = (out / path).read_bytes()
        except OSError:
            return None
        digest.update(f"{path} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _write_clip(out: Path, clip: DemoClip, seed: int) -> None:
    frames = draw_clip(clip, np.random.default_rng([seed, VERSION, clip.number]))
    for t, frame in enumerate(frames):
        _write(out / "image" / _frame_path(clip, t + 1), encode_jpeg(frame))
    _write(out / "video" / f"{clip.clip_id}.mp4", encode_mp4(frames))


def _frame_path(clip: DemoClip, frame_number: int) -> str:
    return f"{clip.clip_id}/{clip.clip_id}_t{frame_number:06d}.jpg"


def encode_jpeg(frame: np.ndarray) -> bytes:
    """frame (H, W, 3) uint8 RGB."""
    options = [cv2.IMWRITE_JPEG_QUALITY, 80, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    ok, content = cv2.imencode(".jpg", frame[..., ::-1], options)
    if not ok:
        raise UserError("this build of OpenCV writes no JPEG; install opencv-python-headless")
    return content.tobytes()


def encode_mp4(frames: np.ndarray) -> bytes:
    """frames (T, H, W, 3) uint8 RGB, as H.264."""
    if "libx264" not in av.codecs_available:
        raise UserError("this build of PyAV has no libx264; install the wheel: pip install av")
    content = io.BytesIO()
    with av.open(content, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "20", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.thread_count = 1  # the bytes depend on the number of threads
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return content.getvalue()


def _annotation_files(clips: Sequence[DemoClip]) -> Iterator[tuple[str, bytes]]:
    for name, split in (("train.csv", "train"), ("val.csv", "test")):
        rows = [row for clip in clips if clip.split == split for row in _csv_rows(clip)]
        yield f"annot/{name}", "\n".join([CSV_HEADER, *rows, ""]).encode()
    names, categories = zip(*((shown.name, shown.category) for shown in CLASSES), strict=True)
    counts = count_clips(clips)
    yield "annot/df_action.xlsx", class_table_bytes(names, counts, categories, CUTS)


def _csv_rows(clip: DemoClip) -> Iterator[str]:
    labels = ",".join(map(str, clip.labels))
    for number in range(1, clip.num_frames + 1):
        path = _frame_path(clip, number)
        yield f"{clip.clip_id} {clip.number} {number} {path} {labels} {clip.split}"


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all, and only where it differs. The hash finds what a power cut has lost."""
    if path.is_file() and path.read_bytes() == content:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Make the sample data: no download, 12 classes.")
    parser.add_argument("--out", type=Path, default=Path("data/demo"), help="folder to write into")
    parser.add_argument("--seed", type=int, default=0, help="other clips of the same classes")
    args = parser.parse_args(arguments)
    started = time.monotonic()
    try:
        made = make_demo(args.out, args.seed)
    except UserError as error:
        print(f"demo: error: {error}", file=sys.stderr)
        return error.exit_code
    said = f"made in {time.monotonic() - started:.0f} s" if made else "complete already"
    print(f"demo: sample data {said}: {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

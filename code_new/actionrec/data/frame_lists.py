"""The frames of a clip, when an annotation is made: from image folders, videos, or a fixed number.

Each of the three gives a function: clip id -> (frame number, path) of each frame, in order.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

from actionrec.data.input_checks import AnnotationError, check_relative_path, shown
from actionrec.data.mp4_boxes import MAX_IN_CLIP, check_num_samples
from actionrec.errors import SecurityError

Frames = list[tuple[int, str]]
FrameLister = Callable[[str], Frames]

_FRAME_FILE = re.compile(r".*?([0-9]{1,18})[^0-9]*\.(?:jpe?g|png)", re.IGNORECASE)


class MissingFrames(Exception):
    """A clip has no frames here; the text says why."""


def fixed_number(num_frames: int) -> FrameLister:
    """Every clip has `num_frames` frames, named as Animal Kingdom names them, counted from 1."""
    return lambda clip_id: _named(clip_id, num_frames)


def in_image_folders(root: Path) -> FrameLister:
    """Frames are the JPEG and PNG files of `root`/<clip id>, in the order of their numbers."""
    _check_folder(root, "--images")

    def frames(clip_id: str) -> Frames:
        try:
            with os.scandir(root / clip_id) as entries:
                names = [entry.name for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            raise MissingFrames(f"{root / clip_id}: {error.strerror}") from None
        found = {n: m for n in names if (m := _FRAME_FILE.fullmatch(n))}
        if not found:
            raise MissingFrames(f"{root / clip_id}: no numbered JPEG or PNG files")
        by_number = {int(match[1]): name for name, match in found.items()}
        for name, match in found.items():
            check_relative_path(name, str(root / clip_id), root="--images")
            other = by_number[int(match[1])]
            if other != name or re.search(r'[\s"]', name):
                problem = f"and {shown(other)} have one number" if other != name else "has a space"
                raise AnnotationError(f"{root / clip_id}: {shown(name)} {problem}; rename it")
        return [(number, f"{clip_id}/{name}") for number, name in sorted(by_number.items())]

    return frames


def in_videos(root: Path) -> FrameLister:
    """As many frames as `root`/<clip id>.mp4 has, named as they are when they are extracted."""
    _check_folder(root, "--videos")
    return lambda clip_id: _named(clip_id, count_video_frames(root / f"{clip_id}.mp4"))


def count_video_frames(path: Path) -> int:
    """Frames of the first video stream: as it says, else counted in packets, without decoding.

    Raises MissingFrames for a file that is missing, broken, or has no frames, SecurityError when
    it says it has too many to be opened.
    """
    import av

    if not path.is_file():
        raise MissingFrames(f"{path}: no such file")
    try:
        with path.open("rb", buffering=0) as file:
            check_num_samples(file, str(path), max_samples=MAX_IN_CLIP)
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise MissingFrames(f"{path}: has no video stream")
            stream = container.streams.video[0]
            # The packet that ends a stream is empty.
            count = stream.frames or sum(packet.size > 0 for packet in container.demux(stream))
    except SecurityError:
        raise
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise MissingFrames(f"{path}: cannot be read ({shown(error)})") from None
    if count <= 0:
        raise MissingFrames(f"{path}: has no frames")
    return count


def _named(clip_id: str, num_frames: int) -> Frames:
    return [(n, f"{clip_id}/{clip_id}_t{n:06d}.jpg") for n in range(1, num_frames + 1)]


def _check_folder(root: Path, option: str) -> None:
    if not root.is_dir():
        raise AnnotationError(f"{option} {root}: is no folder; check the path")

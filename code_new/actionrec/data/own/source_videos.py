"""The videos that a lab has recorded: found by the name in an export, and how their frames lie.

Time 0 is the first frame. Frames are counted from 0 in the order in which they are shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path, PurePosixPath

import av
import numpy as np

from actionrec.data.input_checks import AnnotationError, shown
from actionrec.data.mp4_boxes import MAX_IN_RECORDING, check_num_samples
from actionrec.errors import SecurityError, UserError, first_few

# The name of FFmpeg's reader for each: told by the name and not by the content, so that no file is
# taken for a playlist, which may open other files.
SUFFIXES = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mp4",
    ".3gp": "mp4",
    ".avi": "avi",
    ".mkv": "matroska",
    ".webm": "matroska",
    ".mpg": "mpeg",
    ".mpeg": "mpeg",
    ".mts": "mpegts",
    ".m2ts": "mpegts",
    ".wmv": "asf",
    ".flv": "flv",
}


class UnusableVideo(UserError):
    """A video that is missing or cannot be read; the others can go on without it."""


@dataclass(frozen=True, eq=False)
class SourceVideo:
    """One video. `times_sec` (F,) float64, rising from 0; `stamps` (F,) int64, empty without any.

    `stamps` are the presentation times in the stream's own unit. `rate` is frames a second.
    """

    path: Path
    num_bytes: int
    times_sec: np.ndarray
    stamps: np.ndarray
    rate: Fraction

    @property
    def duration_sec(self) -> float:
        """From the first frame to the end of the last."""
        return float(self.times_sec[-1]) + float(1 / self.rate)

    def frame_range(self, start_sec: float, stop_sec: float) -> tuple[int, int]:
        """The first frame shown from start_sec on, and the first from stop_sec on."""
        # Times in files are rounded, to a millisecond at worst.
        bounds = np.searchsorted(self.times_sec, np.array([start_sec, stop_sec]) - 0.001)
        return int(bounds[0]), int(bounds[1])


class VideoFolder:
    """The videos in a folder and its sub-folders, found by file name, with or without its end."""

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise AnnotationError(f"--videos {root}: is no folder; check the path")
        self.root = root
        self.paths = sorted(
            p for p in root.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file()
        )
        if not self.paths:
            raise AnnotationError(
                f"--videos {root}: holds no video; known are {' '.join(SUFFIXES)}"
            )

    def find(self, name: str, where: str) -> Path:
        """The video that an export calls `name`: a path of another computer, a file, or its stem.

        Raises UnusableVideo when there is none, AnnotationError when there are several.
        """
        parts = PurePosixPath(name.replace("\\", "/")).parts
        wanted = parts[-1].casefold() if parts else ""
        found = [p for p in self.paths if p.name.casefold() == wanted]
        found = found or [p for p in self.paths if p.stem.casefold() == wanted]
        if len(found) > 1 and len(parts) > 1:  # the folder decides
            found = [p for p in found if p.parent.name.casefold() == parts[-2].casefold()] or found
        if len(found) > 1:
            both = first_few([str(p.relative_to(self.root)) for p in found], 3)
            raise AnnotationError(
                f"{where}: {shown(name)} is the name of {len(found)} videos in {self.root}: "
                f"{both}; rename them, or write the folder before the name"
            )
        if not found:
            raise UnusableVideo(f"{where}: no video {shown(wanted or name)} in {self.root}")
        return found[0]


def probe(path: Path) -> SourceVideo:
    """Read the file through without decoding.

    Raises UnusableVideo, SecurityError when it says it holds too much to be opened.
    """
    format_name = SUFFIXES[path.suffix.lower()]
    try:
        if format_name == "mp4":
            with path.open("rb", buffering=0) as file:
                check_num_samples(file, str(path), max_samples=MAX_IN_RECORDING)
        with av.open(str(path), format=format_name) as container:
            if not container.streams.video:
                raise UnusableVideo(f"{path}: holds no video stream")
            stream = container.streams.video[0]
            packets = [p for p in container.demux(stream) if p.size and not p.is_discard]
            stamps = [p.pts for p in packets]
            rate = stream.average_rate or stream.guessed_rate or Fraction(25)
            unit = float(stream.time_base or 0)
    except SecurityError:
        raise
    except (av.error.FFmpegError, OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnusableVideo(f"{path}: cannot be read ({shown(reason)})") from None
    if not stamps:
        raise UnusableVideo(f"{path}: holds no frames")
    # Some AVI files have none.
    given = sorted(stamp for stamp in stamps if stamp is not None)
    known = np.array(given if unit and len(given) == len(stamps) else [], dtype=np.int64)
    times = (known - known[0]) * unit if known.size else np.arange(len(stamps)) / float(rate)
    return SourceVideo(path, path.stat().st_size, times, known, Fraction(rate))

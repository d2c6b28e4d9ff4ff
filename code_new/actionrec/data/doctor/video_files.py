"""One clip stored as an mp4: is it there, whole, and as long as the annotation says?"""

from __future__ import annotations

import os
from pathlib import Path

import av
import numpy as np

from actionrec.data.clip_table import ClipTable
from actionrec.data.doctor.clip_files import ClipFiles
from actionrec.data.mp4_boxes import MAX_IN_CLIP, check_num_samples
from actionrec.data.reading import regular_file
from actionrec.data.video import MAX_ABSENT_FRAMES, MAX_SEC, MAX_SIDE_PX, VideoFiles
from actionrec.errors import SecurityError, UserError


class VideoChecker:
    """Checks one clip at a time; decode: read every frame as a run does. Threads may share it."""

    def __init__(self, table: ClipTable, root: Path, *, decode: bool) -> None:
        self._source, self._decode = VideoFiles(table, root), decode

    def check(self, clip: int) -> ClipFiles:
        """Open the clip's video, and decode it if that was asked for."""
        found = ClipFiles()
        table, root = self._source.table, self._source.root
        name = self._source.files(clip)[0]
        if not os.path.lexists(root / name):
            found.problems["missing"] = f"no {name}"
            return found
        try:
            path = regular_file(root, name, table.ids[clip], "--videos")
            found.num_frames, size = _open(path, name)
            found.sizes = frozenset([size])
            self._compare_length(found, int(table.num_frames[clip]))
            if self._decode and "short" not in found.problems:
                self._source.read(clip, np.arange(table.num_frames[clip]), each=_corner)
        except UserError as error:
            found.add_error(error)
        return found

    def _compare_length(self, found: ClipFiles, num_annotated: int) -> None:
        said = f"{found.num_frames} frames, {num_annotated} annotated"
        more = found.num_frames - num_annotated
        if more < -MAX_ABSENT_FRAMES or found.num_frames == 0:
            found.problems["short"] = said
        elif more < 0:
            found.problems["slightly_short"] = said
        elif more > MAX_ABSENT_FRAMES:
            found.problems["longer"] = said


def _corner(frame: np.ndarray) -> np.ndarray:
    """One pixel: a frame has been decoded when it is there, and need not be kept."""
    return frame[:1, :1]


def _open(path: Path, name: str) -> tuple[int, tuple[int, int]]:
    """Frames and (height, width) that the file states. Decodes nothing.

    Raises UserError when it is no mp4, has no video, or is shorter than its own index says.
    """
    try:
        with path.open("rb", buffering=0) as file:
            check_num_samples(file, name, max_samples=MAX_IN_CLIP)
        # Naming the format keeps FFmpeg from taking the file for a playlist.
        with av.open(str(path), format="mp4", metadata_errors="replace") as container:
            if not container.streams.video:
                raise UserError(f"{name} holds no video stream; put the clip's own video there")
            stream = container.streams.video[0]
            size = stream.codec_context.height, stream.codec_context.width
            seconds = (container.duration or 0) / av.time_base
            if max(size) > MAX_SIDE_PX or seconds > MAX_SEC:
                raise SecurityError(
                    f"{name} says it is {size[1]}x{size[0]} px and {seconds:.0f} s long: too large"
                )
            entries = stream.index_entries
            end = max((entry.pos + entry.size for entry in entries), default=0)
            if end > path.stat().st_size:
                raise UserError(f"{name} ends before its last frame does; copy it again")
            return stream.frames or len(entries), size
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or type(error).__name__
        raise UserError(f"{name} cannot be opened ({reason}); copy it again") from None

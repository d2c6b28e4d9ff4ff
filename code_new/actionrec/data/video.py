"""Clips stored as one mp4 a clip: the frames asked for, by their number, exactly.

Frame k is the k-th in the order of presentation, whatever the order of decoding (B-frames) and
however uneven the frame rate. A rotation by quarter turns that the file asks for is honoured, as
players and FFmpeg's own frame extraction do; a mirror image and non-square pixels are not. One
thread decodes: loaders run one process a core.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from actionrec.data.clip_table import ClipTable
from actionrec.data.mp4_boxes import MAX_IN_CLIP, check_num_samples
from actionrec.data.reading import (
    PerFrame,
    gather,
    open_file,
    printable,
    regular_file,
    retried,
    unchanged,
)
from actionrec.errors import SecurityError, UserError

MAX_SEC = 600
MAX_SIDE_PX = 8192
# Frames were once extracted from the videos, and tools disagree by a frame or two about where a
# video ends. A video that is this much shorter than its annotation repeats its last frame.
MAX_ABSENT_FRAMES = 2

# FFmpeg would decode the first frames of each H.264 video only to learn what the mp4 states. The
# limit on pixels holds for every frame, whatever the header said.
_OPTIONS = {"skip_frame": "all", "probesize": "32", "max_pixels": str(MAX_SIDE_PX**2)}
# In these a frame that says that nothing refers to it can be left out and all others come out the
# same. HEVC says it of frames that others on a higher temporal layer may still refer to.
_CODECS_WITH_LEAVABLE_FRAMES = {"h264", "mpeg4"}


class VideoFiles:
    """Videos at `root` / <clip id>.mp4."""

    key = "DATA.VIDEO_PREFIX"

    def __init__(self, table: ClipTable, root: Path) -> None:
        self.table = table
        self.root = root

    def files(self, clip: int) -> list[str]:
        """The one file of the clip, relative to `root`."""
        return [f"{self.table.ids[clip]}.mp4"]

    def read(self, clip: int, frame_indices: np.ndarray, each: PerFrame = unchanged) -> np.ndarray:
        """The frames in the order asked: (F, H, W, 3) uint8 RGB. See `gather` for `each`.

        Raises UserError naming clip and file when it is missing or broken or holds too few frames,
        SecurityError when it leaves the root or is too large to open.
        """
        clip_id = self.table.ids[clip]
        relative = self.files(clip)[0]
        path = regular_file(self.root, relative, clip_id, self.key)
        name = f"clip {clip_id}: {printable(self.root / relative)}"
        try:
            return retried(lambda: self._read_once(clip, path, name, frame_indices, each))
        except (av.error.FFmpegError, OSError) as error:
            reason = error.strerror or type(error).__name__
            raise UserError(
                f"{name} cannot be decoded ({reason}); copy it again, or check the disk"
            ) from None

    def _read_once(
        self, clip: int, path: Path, name: str, frame_indices: np.ndarray, each: PerFrame
    ) -> np.ndarray:
        with _WatchedFile(open_file(path)) as file:
            if os.fstat(file.fileno()).st_size == 0:
                raise UserError(f"{name} is empty; copy it again")
            try:
                check_num_samples(file, name, max_samples=MAX_IN_CLIP)
                return self._read_frames(file, clip, name, frame_indices, each)
            finally:
                if file.error is not None:
                    raise file.error

    def _read_frames(
        self, file: io.FileIO, clip: int, name: str, frame_indices: np.ndarray, each: PerFrame
    ) -> np.ndarray:
        # Naming the format keeps FFmpeg from taking the file for a playlist, which may open other
        # files.
        with av.open(
            file, "r", format="mp4", options=dict(_OPTIONS), metadata_errors="replace"
        ) as container:
            stream = _video_stream(container, name)
            times, key_times = _presentation_times(container, stream, name)
            self._check_count(clip, len(times), name)
            return gather(
                np.minimum(frame_indices, len(times) - 1),
                lambda which, _: _decode(container, stream, which, times[which], key_times, name),
                each,
            )

    def _check_count(self, clip: int, num_in_video: int, name: str) -> None:
        num_annotated = int(self.table.num_frames[clip])
        if num_in_video < max(num_annotated - MAX_ABSENT_FRAMES, 1):
            raise UserError(
                f"{name} holds {num_in_video} frames, {self.table.source} lists {num_annotated}; "
                "copy the video again, or make the annotation from the videos you have"
            )


class _WatchedFile(io.FileIO):
    """Ends where reading fails, and keeps the error: FFmpeg takes one for the end of the video."""

    error: OSError | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            return super().read(size) or b""  # None: a pipe that has nothing yet
        except OSError as error:
            self.error = error
            return b""


def _video_stream(container: InputContainer, name: str) -> VideoStream:
    if not container.streams.video:
        raise UserError(f"{name} holds no video stream; put the clip's own video there")
    stream = container.streams.video[0]
    if stream.codec_context is None:
        raise UserError(f"{name} is encoded in no known way; convert it to H.264")
    width, height = stream.codec_context.width, stream.codec_context.height
    duration_sec = (container.duration or 0) / av.time_base
    if max(width, height) > MAX_SIDE_PX or duration_sec > MAX_SEC:
        raise SecurityError(
            f"{name} says it is {width}x{height} px and {duration_sec:.0f} s long; more than "
            f"{MAX_SIDE_PX} px a side or {MAX_SEC} s is not opened: scale or cut the video"
        )
    stream.codec_context.thread_count = 1
    stream.codec_context.options = {"max_pixels": _OPTIONS["max_pixels"]}
    return stream


def _presentation_times(
    container: InputContainer, stream: VideoStream, name: str
) -> tuple[np.ndarray, np.ndarray]:
    """The times of all frames, and those of the key frames, rising, in the stream's own unit.

    Reads the file through without decoding. What an edit list hides is no frame, but a hidden key
    frame is still where decoding of the first frames begins.
    """
    times: list[int] = []
    key_times: list[int] = []
    for packet in container.demux(stream):
        if packet.size == 0:  # the end of the stream
            continue
        if packet.pts is None:
            raise UserError(f"{name} has a frame without a time stamp; convert it to mp4 again")
        if packet.is_corrupt:
            raise UserError(f"{name} ends before its last frame does; copy it again")
        if not packet.is_discard:
            times.append(packet.pts)
        if packet.is_keyframe:
            key_times.append(packet.pts)
    if len(set(times)) < len(times):
        raise UserError(f"{name} has several frames at one time; convert it to mp4 again")
    return np.sort(np.array(times, np.int64)), np.sort(np.array(key_times, np.int64))


def _decode(
    container: InputContainer,
    stream: VideoStream,
    indices: np.ndarray,
    wanted_times: np.ndarray,
    key_times: np.ndarray,
    name: str,
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (name, (H, W, 3) uint8 RGB) for each of `indices`; both arrays rise together.

    Decodes forward from the last key frame before the first wanted one, leaves out what nothing
    needs, and converts only wanted frames. If a frame comes out damaged or not at all it begins
    anew at the first key frame, and leaves out nothing: where a video refreshes the picture little
    by little, its key frames are not whole.
    """
    leavable = stream.codec_context.name in _CODECS_WITH_LEAVABLE_FRAMES
    near = [(at, leavable) for at in key_times[key_times <= wanted_times[0]][-1:].tolist()]
    first = [(at, False) for at in key_times[:1].tolist()]
    reformatter = VideoReformatter()
    row = 0
    for start, leave_out in dict.fromkeys(near + first):
        for frame in decode_forward(container, stream, start, wanted_times[row:], leave_out):
            if frame.is_corrupt and frame.pts is not None and frame.pts >= start:
                break  # others are made from it
            if frame.pts != wanted_times[row]:
                continue
            yield f"{name}, frame {indices[row]},", _upright(frame, reformatter, name)
            row += 1
            if row == len(indices):
                return
    raise UserError(f"{name}: frame {indices[row]} cannot be decoded; copy the video again")


def decode_forward(
    container: InputContainer,
    stream: VideoStream,
    start: int,
    wanted_times: np.ndarray,
    leave_out: bool,
) -> Iterator[av.VideoFrame]:
    """The frames from the key frame at time `start` to the last wanted one, as they are shown.

    leave_out: without those that are not wanted and that no other refers to.
    """
    decoder = stream.codec_context
    container.seek(start, stream=stream, backward=True)
    wanted = set(wanted_times.tolist())
    awaited = set(wanted)
    for packet in container.demux(stream):
        if packet.size == 0:  # the end of the stream
            break
        is_needed = packet.pts in wanted or not leave_out
        decoder.skip_frame = "DEFAULT" if is_needed else "NONREF"
        yield from decoder.decode(packet)
        awaited.discard(packet.pts)
        if not awaited:
            break
    yield from decoder.decode(None)


def _upright(frame: av.VideoFrame, reformatter: VideoReformatter, name: str) -> np.ndarray:
    quarter_turns, rest = divmod(frame.rotation, 90)
    if rest:
        raise UserError(
            f"{name} is rotated by {frame.rotation} degrees; only quarter turns are read"
        )
    pixels = reformatter.reformat(frame, format="rgb24", threads=1).to_ndarray()
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns))

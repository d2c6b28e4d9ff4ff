"""Cut a video into clips: mp4 files of exactly the frames asked for, each whole or not at all.

One pass over the video writes all its clips. Each file says in its comment what it was cut from; a
file that says the same is left as it is, so an interrupted cut goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import cast

import av
import cv2
import numpy as np
from av.container import OutputContainer
from av.video.stream import VideoStream

from actionrec.atomic_file import atomic_file
from actionrec.data.own.boxes import Box, square_crop
from actionrec.data.own.source_videos import SUFFIXES, SourceVideo, UnusableVideo

# A key frame every 12: training reads a few frames from the middle of a clip.
ENCODERS = (
    ("libx264", {"crf": "20", "preset": "veryfast", "g": "12"}),
    ("mpeg4", {"b": "4000000", "g": "12"}),
)

Write = Callable[[np.ndarray], None]


@dataclass(frozen=True)
class Clip:
    """Frames first..end-1 of a video, cropped around `box` where there is one."""

    clip_id: str
    first: int
    end: int
    box: Box | None = None


def cut_clips(
    video: SourceVideo,
    clips: Sequence[Clip],
    folder: Path,
    *,
    short_side_px: int,
    done: Callable[[int], None],
) -> None:
    """Write `folder`/<clip id>.mp4 for each clip that is not there yet.

    short_side_px: larger pictures are scaled down to it; 0 keeps their size. done: told how many
    more clips are there. Raises UnusableVideo when the video cannot be decoded to the end of the
    last clip; the clips before are there then.
    """
    remarks = {clip.clip_id: _remark(video, clip, short_side_px) for clip in clips}
    missing = [c for c in clips if _comment(folder / f"{c.clip_id}.mp4") != remarks[c.clip_id]]
    done(len(clips) - len(missing))
    if not missing:
        return
    waiting = sorted(missing, key=lambda clip: clip.first, reverse=True)
    running: list[tuple[Clip, Write, ExitStack]] = []
    with ExitStack() as all_files:
        for index, frame in _frames(video, max(clip.end for clip in missing)):
            while waiting and waiting[-1].first <= index:
                clip = waiting.pop()
                file = all_files.enter_context(ExitStack())
                path = folder / f"{clip.clip_id}.mp4"
                write = file.enter_context(_clip_file(path, video.rate, remarks[clip.clip_id]))
                running.append((clip, write, file))
            if not running:
                continue
            picture = _upright(frame, video.path)
            for clip, write, _ in running:
                write(_scaled(_cropped(picture, clip.box), short_side_px))
            for _, _, file in [r for r in running if r[0].end <= index + 1]:
                file.close()  # gives it its name; an error above takes all open ones away
                done(1)
            running = [r for r in running if r[0].end > index + 1]


@contextmanager
def _clip_file(path: Path, rate: Fraction, remark: str) -> Iterator[Write]:
    """A function that adds one picture (H, W, 3) uint8 RGB to the file."""
    rate = rate.limit_denominator(1001)  # MPEG-4 takes no finer one
    streams: list[VideoStream] = []
    num_frames = count()

    with atomic_file(path) as file, av.open(file, "w", format="mp4") as container:
        container.metadata["comment"] = remark

        def write(picture: np.ndarray) -> None:
            if not streams:
                streams.append(_add_stream(container, rate, picture.shape))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = next(num_frames), 1 / rate
            container.mux(streams[0].encode(frame))

        yield write
        container.mux(streams[0].encode(None))


def _frames(video: SourceVideo, end: int) -> Iterator[tuple[int, av.VideoFrame]]:
    """(frame number, frame) of the frames 0..end-1."""
    numbers = {stamp: number for number, stamp in enumerate(video.stamps.tolist())}
    index = -1
    try:
        with av.open(str(video.path), format=SUFFIXES[video.path.suffix.lower()]) as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                number = numbers.get(frame.pts) if numbers else index + 1
                if number is None:  # an edit list hides it
                    continue
                # A recording may begin amid a group of pictures: then its first ones are lost.
                if frame.is_corrupt or (number != index + 1 and index >= 0):
                    raise UnusableVideo(f"{video.path}: frame {index + 1} cannot be decoded")
                index = number
                yield index, frame
                if index + 1 >= end:
                    return
    except (av.error.FFmpegError, OSError) as error:
        reason = error.strerror or type(error).__name__
        raise UnusableVideo(f"{video.path}: frame {index + 1}: {reason}") from None
    raise UnusableVideo(f"{video.path}: ends at frame {index + 1} of {len(video.times_sec)}")


def _upright(frame: av.VideoFrame, path: Path) -> np.ndarray:
    quarter_turns, rest = divmod(frame.rotation, 90)
    if rest:
        raise UnusableVideo(f"{path}: is rotated by {frame.rotation} degrees, not a quarter turn")
    return np.ascontiguousarray(np.rot90(frame.to_ndarray(format="rgb24"), quarter_turns))


def _cropped(picture: np.ndarray, box: Box | None) -> np.ndarray:
    if box is None:
        return picture
    height, width = picture.shape[:2]
    left, top, right, bottom = square_crop(box, width, height)
    return picture[top:bottom, left:right]


def _scaled(picture: np.ndarray, short_side_px: int) -> np.ndarray:
    """Scaled down to the short side, and to even sides, which H.264 needs."""
    height, width = picture.shape[:2]
    factor = min(1.0, short_side_px / min(height, width)) if short_side_px else 1.0
    height, width = (max(2, 2 * round(side * factor / 2)) for side in (height, width))
    if picture.shape[:2] == (height, width):
        return np.ascontiguousarray(picture)
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _add_stream(container: OutputContainer, rate: Fraction, shape: tuple[int, ...]) -> VideoStream:
    name, options = next(e for e in ENCODERS if e[0] in av.codecs_available)
    stream = cast(VideoStream, container.add_stream(name, rate=rate, options=dict(options)))
    stream.height, stream.width, stream.pix_fmt = shape[0], shape[1], "yuv420p"
    stream.codec_context.thread_count = 1  # several clips are written at a time
    return stream


def _remark(video: SourceVideo, clip: Clip, short_side_px: int) -> str:
    """What a clip's file says of itself: all that its pixels depend on."""
    crop = "all" if clip.box is None else ",".join(f"{side:g}" for side in clip.box)
    return (
        f"{video.path.name}, {video.num_bytes} bytes, frames {clip.first} to {clip.end - 1} from "
        f"0, box {crop}, short side {short_side_px or 'as it is'}"
    )


def _comment(path: Path) -> str | None:
    """What a clip that is there says; None where there is none, or one that cannot be read."""
    try:
        with av.open(str(path), format="mp4") as container:
            return container.metadata.get("comment")
    except (av.error.FFmpegError, OSError, UnicodeDecodeError):
        return None

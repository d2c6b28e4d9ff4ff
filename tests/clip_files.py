"""Small clips whose pixels spell their frame number, as images and as mp4, to be read."""

import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from actionrec.types import DataSettings

TICK = Fraction(1, 600)  # unit of presentation times, in seconds


@dataclass
class Table:
    """What reading needs of a ClipTable: frame k is <id>/<id>_t<k + 1>.jpg."""

    ids: tuple[str, ...]
    num_frames: np.ndarray
    suffix: str = "jpg"
    source: Path = Path("annot/train.csv")

    def frame_paths(self, clip, frame_indices):
        name = self.ids[clip]
        return [f"{name}/{name}_t{int(i) + 1:06d}.{self.suffix}" for i in frame_indices]


def table(num_frames=4, ids=("AAACXZTV",), suffix="jpg"):
    return Table(tuple(ids), np.full(len(ids), num_frames), suffix)


def settings(tmp_path, frames="image", video="video", source="auto"):
    return DataSettings(
        annotation_dir=tmp_path,
        num_classes=3,
        num_frames=4,
        sampling_rate=1,
        source=source,
        frame_root=tmp_path / frames if frames else None,
        video_root=tmp_path / video if video else None,
    )


def counter_frame(number, height=48, width=64, top=(220, 220, 220)):
    """Eight bars in the upper half spell the number in binary; the lower half is dark."""
    frame = np.full((height, width, 3), 30, np.uint8)
    for bit in range(8):
        if number >> bit & 1:
            frame[: height // 2, bit * width // 8 : (bit + 1) * width // 8] = top
    return frame


def read_counter(frame):
    height, width = frame.shape[:2]
    bars = [frame[height // 4, (2 * bit + 1) * width // 16].mean() for bit in range(8)]
    return sum((value > 120) << bit for bit, value in enumerate(bars))


def write_images(root, clips, **sizes):
    for clip, clip_id in enumerate(clips.ids):
        (root / clip_id).mkdir(parents=True, exist_ok=True)
        for path in clips.frame_paths(clip, range(clips.num_frames[clip])):
            number = int(Path(path).stem[-6:]) - 1
            bgr = np.ascontiguousarray(counter_frame(number, **sizes)[..., ::-1])
            cv2.imwrite(str(root / path), bgr)


def encoded(picture, image_format="JPEG", **options):
    """A Pillow picture as the bytes of a file."""
    with io.BytesIO() as file:
        picture.save(file, image_format, **options)
        return file.getvalue()


def write_video(
    path, times=None, codec="libx264", pix_fmt="yuv420p", options=None, container=None, noise=False
):
    """An mp4 whose frame k spells k, at times[k] in 1/600 s; None: 60 frames at 30 Hz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options=container or {}) as out:
        stream = out.add_stream(codec, rate=30)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        stream.options = {"bf": "3", "g": "12", "crf": "10"} if options is None else options
        stream.codec_context.time_base = stream.time_base = TICK
        for number, time in enumerate(times or [20 * k for k in range(60)]):
            pixels = counter_frame(number)
            if noise:
                pixels = np.random.default_rng(number).integers(0, 256, pixels.shape, np.uint8)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, TICK
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def numbers(frames):
    return [read_counter(frame) for frame in frames]

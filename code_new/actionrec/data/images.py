"""Clips stored as one JPEG or PNG file a frame.

The format is told from the first bytes, never from the name, and nothing else is given to a
decoder. Grey, CMYK, 16-bit and transparent pictures become 8-bit RGB. An EXIF orientation is
honoured, as rotated videos are.

simplejpeg decodes JPEGs faster than OpenCV, to the same pixels, and refuses damaged ones. What it
refuses goes to OpenCV, so that a file is read, or not, whether simplejpeg is there or not.
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from actionrec.data.clip_table import ClipTable
from actionrec.data.reading import (
    PerFrame,
    Room,
    gather,
    open_file,
    printable,
    regular_file,
    retried,
    unchanged,
)
from actionrec.errors import SecurityError, UserError

try:
    import simplejpeg
except ImportError:
    simplejpeg = None

MAX_PIXELS = 50_000_000
MAX_BYTES = 256 * 2**20
_MAX_MARKERS = 10_000  # before the pixels of a JPEG; a colour profile may take hundreds
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"


class _Header(NamedTuple):
    """What stands before the pixels. ends: the mark of the picture's end comes after them."""

    size: tuple[int, int]  # height, width
    ends: bool
    is_plain_jpeg: bool  # without metadata that could turn it


class ImageFolders:
    """Frames at `root` / the path in the annotation."""

    key = "DATA.PATH_PREFIX"

    def __init__(self, table: ClipTable, root: Path) -> None:
        self.table = table
        self.root = root

    def files(self, clip: int) -> list[str]:
        """All files of the clip, relative to `root`."""
        return self.table.frame_paths(clip, np.arange(self.table.num_frames[clip]))

    def read(self, clip: int, frame_indices: np.ndarray, each: PerFrame = unchanged) -> np.ndarray:
        """The frames in the order asked: (F, H, W, 3) uint8 RGB. See `gather` for `each`.

        Raises UserError naming clip and file when one is missing, broken or of another size,
        SecurityError when one leaves the root or is too large to open.
        """
        return gather(frame_indices, lambda which, room: self._decode(clip, which, room), each)

    def _decode(
        self, clip: int, distinct: np.ndarray, room: Room
    ) -> Iterator[tuple[str, np.ndarray]]:
        clip_id = self.table.ids[clip]
        for relative in self.table.frame_paths(clip, distinct):
            path = regular_file(self.root, relative, clip_id, self.key)
            name = f"clip {clip_id}: {printable(self.root / relative)}"
            yield name, decode_image(_read_bytes(path, name), name, room)


def decode_image(data: bytes, name: str, room: Room | None = None) -> np.ndarray:
    """The picture as (H, W, 3) uint8 RGB, in room(H, W) if that is given and serves.

    `name` opens the message of any error.
    """
    header = _read_header(data, name)
    height, width = header.size
    if height * width > MAX_PIXELS:
        raise SecurityError(
            f"{name} says it is {width}x{height} px; more than {MAX_PIXELS // 10**6} megapixels "
            "are not opened: scale the frames down"
        )
    if header.is_plain_jpeg and simplejpeg is not None:
        pixels = room(height, width) if room else np.empty((height, width, 3), np.uint8)
        try:
            if simplejpeg.decode_jpeg(data, "RGB", buffer=pixels).shape == pixels.shape:
                return pixels
        except ValueError:
            pass  # OpenCV decides
    return _decode_with_opencv(data, name)


def _decode_with_opencv(data: bytes, name: str) -> np.ndarray:
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        picture = None
    if picture is None:
        raise UserError(f"{name} cannot be decoded; extract this frame again")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def image_size(data: bytes, name: str) -> tuple[int, int]:
    """Height and width that the header states. Decodes nothing.

    Raises UserError when the data is empty, neither JPEG nor PNG, or ends before the picture does:
    what a decoder makes of a cut file differs from one version to the next.
    """
    return _read_header(data, name).size


def _read_header(data: bytes, name: str) -> _Header:
    if not data:
        raise UserError(f"{name} is empty; extract this frame again")
    if data.startswith(_PNG):
        header = _png_header(data)
    elif data.startswith(_JPEG):
        header = _jpeg_header(data)
    else:
        raise UserError(f"{name} is neither JPEG nor PNG: it begins with {data[:8]!r}")
    if not header.ends or min(header.size) == 0:
        raise UserError(f"{name} ends before the picture does; copy or extract this frame again")
    return header


def _png_header(data: bytes) -> _Header:
    if len(data) < 24 or data[12:16] != b"IHDR":
        return _Header((0, 0), ends=False, is_plain_jpeg=False)
    width, height = struct.unpack(">II", data[16:24])
    return _Header((height, width), ends=b"IEND" in data[24:], is_plain_jpeg=False)


def _jpeg_header(data: bytes) -> _Header:
    """Walks from marker to marker up to the pixels, as the decoders do."""
    size, is_plain, at = (0, 0), True, 2
    for _ in range(_MAX_MARKERS):
        marker = data[at + 1] if at + 9 <= len(data) and data[at] == 0xFF else 0
        if marker == 0:  # nothing that belongs here: the decoders would go on at another place
            break
        if marker == 0xDA:
            # A thumbnail in the metadata has an end marker too, but lies before the pixels.
            ends = data.rfind(b"\xff\xd9", at) > 0
            return _Header(size, ends, is_plain)
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7:  # padding, or no content
            at += 1 if marker == 0xFF else 2
            continue
        # C4, C8 and CC lie among the frame headers but are tables and reserved values.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and size == (0, 0):
            size = struct.unpack(">HH", data[at + 5 : at + 9])
        is_plain &= marker != 0xE1
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return _Header((0, 0), ends=False, is_plain_jpeg=False)


def _read_bytes(path: Path, name: str) -> bytes:
    try:
        return retried(lambda: _read_once(path, name))
    except OSError as error:
        raise UserError(f"{name} cannot be read ({error.strerror}); check the disk") from None


def _read_once(path: Path, name: str) -> bytes:
    with io.FileIO(open_file(path)) as file:
        num_bytes = os.fstat(file.fileno()).st_size
        if num_bytes > MAX_BYTES:
            raise SecurityError(f"{name} has {num_bytes} bytes; no frame is that large: replace it")
        return file.readall() or b""  # None: a pipe that has nothing yet

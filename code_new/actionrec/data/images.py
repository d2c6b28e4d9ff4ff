"""Clips stored as one JPEG or PNG file a frame.

The format is told from the first bytes, never from the name, and nothing else is given to a
decoder. Grey, CMYK, 16-bit and transparent pictures become 8-bit RGB. An EXIF orientation is
honoured, as rotated videos are.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from actionrec.data.clip_table import ClipTable
from actionrec.data.reading import PerFrame, gather, regular_file, unchanged
from actionrec.errors import SecurityError, UserError

MAX_PIXELS = 50_000_000
MAX_BYTES = 256 * 2**20
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"


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
        return gather(frame_indices, lambda distinct: self._decode(clip, distinct), each)

    def _decode(self, clip: int, distinct: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
        clip_id = self.table.ids[clip]
        for relative in self.table.frame_paths(clip, distinct):
            path = regular_file(self.root, relative, clip_id, self.key)
            name = f"clip {clip_id}: {self.root / relative}"
            yield name, decode_image(_read_bytes(path, name), name)


def decode_image(data: bytes, name: str) -> np.ndarray:
    """The picture as (H, W, 3) uint8 RGB. `name` opens the message of any error."""
    height, width = image_size(data, name)
    if height * width > MAX_PIXELS:
        raise SecurityError(
            f"{name} says it is {width}x{height} px; more than {MAX_PIXELS // 10**6} megapixels "
            "are not opened: scale the frames down"
        )
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
    if not data:
        raise UserError(f"{name} is empty; extract this frame again")
    if data.startswith(_PNG):
        size, end = _png_size(data), data.find(b"IEND")
    elif data.startswith(_JPEG):
        size, end = _jpeg_size(data)
    else:
        raise UserError(f"{name} is neither JPEG nor PNG: it begins with {data[:8]!r}")
    if end < 0 or min(size) == 0:
        raise UserError(f"{name} ends before the picture does; copy or extract this frame again")
    return size


def _png_size(data: bytes) -> tuple[int, int]:
    if len(data) < 24 or data[12:16] != b"IHDR":
        return 0, 0
    width, height = struct.unpack(">II", data[16:24])
    return height, width


def _jpeg_size(data: bytes) -> tuple[tuple[int, int], int]:
    """(height, width) from the frame header, and where the end marker is after it, or -1."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF or marker == 0x01 or 0xD0 <= marker <= 0xD7:  # padding, or no content
            at += 1 if marker == 0xFF else 2
            continue
        # C4, C8 and CC lie among the frame headers but are tables and reserved values.
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            # A thumbnail in the metadata has an end marker too, but lies before the frame header.
            return (height, width), data.find(b"\xff\xd9", at)
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return (0, 0), -1


def _read_bytes(path: Path, name: str) -> bytes:
    try:
        num_bytes = path.stat().st_size
        if num_bytes > MAX_BYTES:
            raise SecurityError(f"{name} has {num_bytes} bytes; no frame is that large: replace it")
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{name} cannot be read ({error.strerror}); check the disk") from None

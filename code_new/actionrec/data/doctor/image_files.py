"""One clip stored as image files: are they all there, whole, and alike?"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from actionrec.data.clip_table import ClipTable
from actionrec.data.doctor.clip_files import ClipFiles, Extra
from actionrec.data.doctor.folders import list_files
from actionrec.data.images import MAX_BYTES, MAX_PIXELS, ImageFolders, decode_image, image_size
from actionrec.data.reading import regular_file
from actionrec.errors import SecurityError, UserError

_HEAD_BYTES, _TAIL_BYTES = 16 * 2**10, 64
_SHOWN = 5
_PNG_COLOURS = {0: "grey", 3: "palette", 4: "grey, transparent", 6: "transparent"}
_JPEG_COLOURS = {1: "grey", 4: "CMYK"}


class Picture(NamedTuple):
    """size: (height, width); colours: "" for 8-bit RGB."""

    size: tuple[int, int]
    colours: str


Look = Callable[[Path, str], Picture]  # path, name for messages


def look_at_header(path: Path, name: str) -> Picture:
    """What the header says, and whether the end is there. Raises UserError."""
    data = _read(path, name, only_ends=True)
    try:
        size = image_size(data, name)
    except UserError:  # a long header, or something after the end
        data = _read(path, name)
        size = image_size(data, name)
    if size[0] * size[1] > MAX_PIXELS:
        raise SecurityError(f"{name} says it is {size[1]}x{size[0]} px: too large to open")
    return Picture(size, colours(data, size))


def look_at_pixels(path: Path, name: str) -> Picture:
    """The same after decoding all of it. Raises UserError."""
    data = _read(path, name)
    height, width = decode_image(data, name).shape[:2]
    return Picture((height, width), colours(data, image_size(data, name)))


def _read(path: Path, name: str, *, only_ends: bool = False) -> bytes:
    try:
        with path.open("rb") as file:
            num_bytes = os.fstat(file.fileno()).st_size
            if only_ends and num_bytes > _HEAD_BYTES + _TAIL_BYTES:
                head = file.read(_HEAD_BYTES)
                file.seek(-_TAIL_BYTES, os.SEEK_END)
                return head + file.read(_TAIL_BYTES)
            if num_bytes > MAX_BYTES:
                raise SecurityError(f"{name} has {num_bytes:,} bytes: no frame is that large")
            return file.read()
    except OSError as error:
        raise UserError(f"{name} cannot be read ({error.strerror}); check the disk") from None


def colours(data: bytes, size: tuple[int, int]) -> str:
    """Of a JPEG or PNG whose header states `size`: what is not 8-bit RGB, or ""."""
    if data.startswith(b"\x89PNG"):
        return _PNG_COLOURS.get(data[25], "") or ("16-bit" if data[24] == 16 else "")
    stated = re.escape(struct.pack(">HH", *size))
    header = re.search(rb"\xff[\xc0-\xcf].{3}" + stated + rb"(.)", data, re.DOTALL)
    return _JPEG_COLOURS.get(header[1][0], "") if header else ""


class ImageChecker:
    """Checks one clip at a time; `look` is how a file is looked at. Threads may share it."""

    def __init__(self, table: ClipTable, root: Path, look: Look) -> None:
        self._source, self._look = ImageFolders(table, root), look
        self._list_files = lru_cache(maxsize=64)(list_files)  # clips may share a folder

    def check(self, clip: int) -> ClipFiles:
        """Look at all files of the clip and at what else is in their folders."""
        found = ClipFiles()
        paths = self._source.files(clip)
        by_folder: dict[str, list[str]] = {}
        for path in paths:
            folder, _, name = path.rpartition("/")
            by_folder.setdefault(folder, []).append(name)
        there: list[str] = []
        for folder, names in by_folder.items():
            try:
                listed = self._list_files(self._source.root / folder)
            except OSError as error:
                found.add_error(UserError(f"{folder} cannot be listed ({error.strerror})"))
                continue
            there += [f"{folder}/{n}".lstrip("/") for n in names if n in listed]
            extra = sorted(listed - set(names))
            found.extra[folder] = Extra(len(extra), tuple(extra[:_SHOWN]))
        self._say_missing(found, paths, there)
        self._look_at(found, clip, there)
        return found

    def _say_missing(self, found: ClipFiles, paths: list[str], there: list[str]) -> None:
        absent = len(paths) - len(there)
        if absent and not there:
            found.problems["missing"] = f"no {paths[0]}"
        elif absent:
            first = sorted(set(paths) - set(there))[0]
            found.problems["short"] = f"{absent} of {len(paths)} files, the first is {first}"
        found.num_frames = len(there)

    def _look_at(self, found: ClipFiles, clip: int, there: list[str]) -> None:
        root, clip_id = self._source.root, self._source.table.ids[clip]
        pictures: dict[str, Picture] = {}
        for path in there:
            try:
                pictures[path] = self._look(regular_file(root, path, clip_id, "--images"), path)
            except UserError as error:
                found.add_error(error)
        found.sizes = frozenset(picture.size for picture in pictures.values())
        if len(found.sizes) > 1:
            sizes = sorted(f"{width}x{height}" for height, width in found.sizes)
            found.problems["mixed_sizes"] = " ".join(sizes[:_SHOWN])
        odd = sorted({picture.colours for picture in pictures.values()} - {""})
        if odd:
            found.problems["colours"] = " ".join(odd)

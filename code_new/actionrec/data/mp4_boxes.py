"""How much an mp4 or mov says it holds, read from its boxes before FFmpeg opens it.

A box is a length, a name of four letters, and content; some hold boxes. A few bytes can declare
any number of samples (frames, pieces of sound), and FFmpeg lays out an entry in memory for each:
50 million, declared by a file of 4 KB, take it 15 s and 3.5 GB.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np

from actionrec.errors import SecurityError

MAX_IN_CLIP = 2**20  # 1,700 a second for 10 min
MAX_IN_RECORDING = 2**24  # 60 a second for three days

# Those that the tables of samples lie in, and those in which FFmpeg would find them too.
_WITH_BOXES = set(
    b"moov trak mdia minf stbl moof traf edts mvex udta free hoov "
    b"dinf ilst tref wave sinf schi".split()
)
# The handlers of a track of sound: its own, that of where its data lie, those of remarks on it.
_OF_SOUND = {b"soun", b"alis", b"url ", b"mdir", b"mdta"}
_MISPLACED = re.compile(b"stsz|stz2|trun|cmov")
_MAX_SEARCHED_BYTES = 2**24
# FFmpeg lays out one entry for so many samples of uncompressed sound, which are few bytes each.
_SOUND_SAMPLES_AN_ENTRY = 1024


def check_num_samples(file: BinaryIO, name: str, *, max_samples: int) -> None:
    """Raises SecurityError, naming `name`, where the file says it holds more samples than that.

    Looks at headers and tables alone, then goes back to the start of the file. Whatever is no mp4
    declares no samples: it is for FFmpeg to say what it is.
    """
    tracks: list[_Track] = []
    in_fragments = 0
    for kind, start, end in _boxes(file):
        if kind == b"cmov":
            raise SecurityError(
                f"{name} has a compressed index, which is not opened: convert it to mp4 again"
            )
        if kind == b"stsd" and _MISPLACED.search(_content(file, start, end)):
            raise SecurityError(
                f"{name} has a table where FFmpeg, but nobody else, would find it: convert it to "
                "mp4 again"
            )
        if kind == b"trak":
            tracks.append(_Track())
        elif kind == b"trun":
            in_fragments += _number(file, start + 4)
        elif tracks:
            tracks[-1].add(kind, file, start, end, max_samples)
    num_samples = in_fragments + sum(track.num_entries for track in tracks)
    if num_samples > max_samples:
        raise SecurityError(
            f"{name} says it holds {num_samples:,} frames and pieces of sound; more than "
            f"{max_samples:,} are not opened: cut the video, or convert it to mp4 again"
        )
    file.seek(0)


@dataclass
class _Track:
    """What the tables of one track declare. Where one comes twice, FFmpeg may take either."""

    handlers: set[bytes] = field(default_factory=set)
    ticks: set[int] = field(default_factory=set)  # how long each sample lasts; 0: it varies
    num_sizes: int = 0
    num_times: int = 0
    num_chunks: int = 0
    max_in_chunk: int = 0

    def add(self, kind: bytes, file: BinaryIO, start: int, end: int, max_rows: int) -> None:
        """Take in the box of that kind, if it counts anything."""
        if kind == b"hdlr":
            file.seek(start + 8)
            self.handlers.add(file.read(4))
        elif kind in (b"stsz", b"stz2"):
            self.num_sizes = max(self.num_sizes, _number(file, start + 8))
        elif kind in (b"stco", b"co64"):
            self.num_chunks = max(self.num_chunks, _number(file, start + 4))
        elif kind == b"stsc":
            rows = _rows(file, start, end, 3, max_rows)
            self.max_in_chunk = max([self.max_in_chunk, *rows[:, 1].tolist()])
        elif kind == b"stts":
            rows = _rows(file, start, end, 2, max_rows)
            self.num_times = max(self.num_times, int(rows[:, 0].sum()))
            self.ticks.add(int(rows[0, 1]) if len(rows) == 1 else 0)

    @property
    def num_entries(self) -> int:
        """The most that FFmpeg lays out in memory for it."""
        # Of uncompressed sound a sample is a few bytes, and an entry has many.
        if b"soun" in self.handlers <= _OF_SOUND and self.ticks == {1}:
            return self.num_chunks * -(-self.max_in_chunk // _SOUND_SAMPLES_AN_ENTRY)
        return max(self.num_sizes, self.num_times)


def _boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Kind, start and end of the content of each box, before the boxes within it.

    As FFmpeg does it: a box ends with the one it is in, whatever it says; one that is too short
    even for its own head ends the one it is in.
    """
    at, ends = 0, [file.seek(0, os.SEEK_END)]
    while ends:
        file.seek(at)
        head = file.read(16)
        if ends[-1] - at < 8 or len(head) < 8:
            at = ends.pop()
            continue
        size, kind = struct.unpack_from(">I4s", head)
        start = at + 8
        if size == 1:  # 64 bits follow
            size, start = int.from_bytes(head[8:]), at + 16
        elif size == 0:
            size = ends[-1] - at
        if size < start - at:
            at = ends.pop()
            continue
        end = min(at + size, ends[-1])
        yield kind, start, end
        at = _first_within(file, kind, start, end)
        if at < end:
            ends.append(end)


def _first_within(file: BinaryIO, kind: bytes, start: int, end: int) -> int:
    """Where the boxes in a box begin: at its end if it has none."""
    if kind in _WITH_BOXES:
        return start
    if kind == b"meta":  # some have a version first; FFmpeg looks for the handler
        content = _content(file, start, end)
        words = np.frombuffer(content, ">u4", len(content) // 4)
        handlers = np.flatnonzero(words == int.from_bytes(b"hdlr"))
        return start + 4 * int(handlers[0]) - 4 if len(handlers) else end
    return end


def _content(file: BinaryIO, start: int, end: int) -> bytes:
    file.seek(start)
    return file.read(min(end - start, _MAX_SEARCHED_BYTES))


def _number(file: BinaryIO, at: int) -> int:
    file.seek(at)
    return int.from_bytes(file.read(4))


def _rows(file: BinaryIO, start: int, end: int, num_columns: int, max_rows: int) -> np.ndarray:
    """(R, num_columns) int64: the rows of a table that are there, of more than max_rows the first.

    The rest of such a table changes nothing: each row stands for a sample at least, or for a chunk.
    """
    num_rows = min(_number(file, start + 4), max(end - start - 8, 0) // (4 * num_columns), max_rows)
    content = file.read(4 * num_columns * num_rows)
    whole = len(content) // (4 * num_columns) * num_columns
    return np.frombuffer(content, ">u4", whole).reshape(-1, num_columns).astype(np.int64)

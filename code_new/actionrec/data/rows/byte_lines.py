"""The lines of a file, with the bytes ahead of them in view."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import BinaryIO

MAX_LINE_CHARS = 2**20

_CHUNK = 2**18
_AHEAD = 2**16
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\r|\n)")


class ByteLines:
    """Reads a file in chunks. Lines end as in Python's text files: \\n, \\r\\n or \\r.

    view[start:] is what lies ahead, `number` the number of lines that have been taken. Only a part
    of a line comes when it has more than MAX_LINE_CHARS characters, and then more than so many.
    `seen` gets each piece of the file as it is read.
    """

    def __init__(self, file: BinaryIO, seen: Callable[[bytes], None] | None = None) -> None:
        self._file, self._seen, self._ended = file, seen, False
        self.view, self.start, self.number = b"", 0, 0
        self.look_ahead()
        if self.view.startswith(_BYTE_ORDER_MARK):
            self.start = len(_BYTE_ORDER_MARK)

    def look_ahead(self) -> None:
        """Bring the next 64 KiB into view, or what is left of the file."""
        while len(self.view) - self.start < _AHEAD and not self._ended:
            self._read_chunk()

    def take(self, num_bytes: int) -> list[str]:
        """The whole lines within the next num_bytes, but at least one; [] after the last line.

        They are without their ends; bytes that are not UTF-8 are escaped.
        """
        end = self.view.rfind(b"\n", self.start, self.start + num_bytes) + 1 or self._line_end()
        lines = self.view[self.start : end].splitlines()
        self.skip(len(lines), end)
        return [line.decode("utf-8", "surrogateescape") for line in lines]

    def _line_end(self) -> int:
        found = _LINE.match(self.view, self.start)
        # A \r that ends the view may be half of an end of line.
        while (found is None or found.end() == len(self.view)) and not self._ended:
            if len(self.view) - self.start > 4 * MAX_LINE_CHARS + 2:
                break
            self._read_chunk()
            found = _LINE.match(self.view, self.start)
        return found.end() if found else len(self.view)

    def skip(self, lines: int, end: int) -> None:
        """Go on at view[end], where `lines` lines have ended."""
        self.start, self.number = end, self.number + lines

    def _read_chunk(self) -> None:
        chunk = self._file.read(_CHUNK)
        if self._seen is not None:
            self._seen(chunk)
        self.view, self.start = self.view[self.start :] + chunk, 0
        self._ended = not chunk

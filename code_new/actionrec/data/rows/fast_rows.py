"""Many rows of a Charades-style CSV in a few steps, where they differ in their numbers alone.

The rows of a clip are nearly always `head first middle second tail`, where `first` and `second`
are the frame number and the number in the path, or the other way round, and both rise by one from
row to row. So the bytes that would follow a row are written out and compared with the file: rows
that are equal need not be read one by one. What is not exactly so is left to the exact reader.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from functools import lru_cache
from itertools import accumulate

from actionrec.data.rows.csv_header import Columns

_BLOCK = 256  # rows that are written out at once, at most
_MAX_NUMBER = 10**17  # its successors too have the 18 digits that the exact reader knows
_SEAM = b"\1"  # stands for the tail of a row and the head of the next; in no ordinary row

_FIELD = rb"[!#-~]{1,1024}"
_CLIP = rb"(?P<clip>[A-Za-z0-9][A-Za-z0-9_.-]{0,127})"
_FRAME = rb"(?P<frame>[0-9]{1,18})"
# As csv_rows.split_path splits a path.
_PATH = (
    rb"(?P<prefix>[!#-~]{0,1024}?)(?P<number>[0-9]{1,18})"
    rb"(?P<suffix>[!#-/:-~]{0,1024}(?:\.[A-Za-z0-9]{1,1024})?)"
)
_LABELS = rb'(?:"(?P<quoted>[0-9, ]{0,1024})"|(?P<bare>[0-9,]{1,1024}))'

_WANTED = ("clip", "frame", "prefix", "number", "suffix", "quoted", "bare")

# Clip, frame, prefix, number and suffix of the path, labels; rows; place after them.
Found = tuple[str, str, str, str, str, str, int, int]


class OrdinaryRows:
    """Finds stretches of ordinary rows: single spaces, printable ASCII, quotes at labels alone."""

    def __init__(self, columns: Columns) -> None:
        fields = [_FIELD] * columns.count
        fields[columns.clip], fields[columns.frame] = _CLIP, _FRAME
        fields[columns.path], fields[columns.labels] = _PATH, _LABELS
        self._row = re.compile(b" ".join(fields) + rb"\r?\n")

    def find(self, view: bytes, start: int, most: int) -> Found | None:
        """The ordinary rows from view[start] on that differ in their numbers alone, if any.

        At most `most` rows. The texts are those of the first row.
        """
        row = self._row.match(view, start)
        if row is None or most < 1:
            return None
        first, second = sorted((row.span("frame"), row.span("number")))
        count, end = _count_equal(view, start, row.end(), first, second, most)
        clip, frame, prefix, number, suffix, labels = (
            text.decode() for text in row.group(*_WANTED) if text is not None
        )
        return clip, frame, prefix, number, suffix, labels, count, end


def _count_equal(
    view: bytes, start: int, end: int, first: tuple[int, int], second: tuple[int, int], most: int
) -> tuple[int, int]:
    """How many rows equal what the row view[start:end] lets expect, itself included; their end.

    first and second are the spans of its two numbers.
    """
    seconds, units, lengths = _numbers_after(view[slice(*first)], view[slice(*second)])
    middle, tail = view[first[1] : second[0]], view[second[1] : end]
    seam = tail + view[start : first[0]]
    fixed = len(middle) + len(seam)
    # The tail of row number k, from 1 on, begins at base + k * fixed + lengths[k].
    base = second[1] - fixed - lengths[1]
    count, beyond = 1, min(most, len(seconds))
    while count < beyond:
        half = (count + beyond) // 2
        if view.startswith(seam, base + half * fixed + lengths[half]):
            count = half + 1
        else:
            beyond = half
    if not view.startswith(tail, base + count * fixed + lengths[count]):
        count -= 1
    if count < 2:
        return 1, end

    def row_end(count: int) -> int:
        return base + count * fixed + lengths[count] + len(tail)

    def differs(count: int) -> bool:
        return not view.startswith(expected[: row_end(count) - second[0]], second[0])

    # The search only guessed; this is the proof.
    expected = middle.join([*units[: count - 1], seconds[count - 1]]).replace(_SEAM, seam) + tail
    if not view.startswith(expected, second[0]):
        count = 1 + bisect_left(range(2, count + 1), True, key=differs)
    return count, row_end(count)


@lru_cache(maxsize=64)
def _numbers_after(first: bytes, second: bytes) -> tuple[list[bytes], list[bytes], list[int]]:
    """What `_numbering` gives, from the row with these two numbers on."""
    number, other = int(first), int(second)
    block, row = divmod(number, _BLOCK)
    end = _BLOCK if max(number, other) < _MAX_NUMBER else row + 1
    widths = _padded_width(first), _padded_width(second)
    seconds, units, lengths = _numbering(block, other - number, *widths)
    return seconds[row:end], units[row:end], lengths[row : end + 1]


def _padded_width(number: bytes) -> int:
    """Digits that its successors have at least."""
    return len(number) if number.startswith(b"0") else 1


@lru_cache(maxsize=1024)
def _numbering(
    block: int, difference: int, first_width: int, second_width: int
) -> tuple[list[bytes], list[bytes], list[int]]:
    """For the numbers n of a block of first numbers, the texts that depend on nothing else.

    The second numbers n + difference; each with the next first number, a seam between them; and
    the summed lengths of both numbers in the rows before.
    """
    numbers = range(block * _BLOCK, (block + 1) * _BLOCK + 1)
    firsts = [(b"%d" % n).zfill(first_width) for n in numbers]
    seconds = [(b"%d" % (n + difference)).zfill(second_width) for n in numbers]
    units = [second + _SEAM + first for second, first in zip(seconds, firsts[1:], strict=False)]
    lengths = [len(first) + len(second) for first, second in zip(firsts, seconds, strict=True)]
    return seconds, units, list(accumulate(lengths, initial=0))

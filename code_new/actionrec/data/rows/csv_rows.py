"""Lines of a Charades-style CSV to named fields: quotes, encoding, limits; not yet their meaning.

One row a frame, spaces or tabs between fields.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path

from actionrec.data.input_checks import (
    AnnotationError,
    check_id,
    check_regular_file,
    check_relative_path,
    shown,
)
from actionrec.data.rows.byte_lines import MAX_LINE_CHARS, ByteLines
from actionrec.data.rows.csv_header import SPELLINGS, Columns, read_header, refuse_spreadsheet
from actionrec.data.rows.fast_rows import OrdinaryRows

__all__ = ["MAX_ROWS", "SPELLINGS", "Row", "Stretch", "read_rows", "read_stretches"]

MAX_BYTES = 4 * 2**30
MAX_ROWS = 50_000_000
_MAX_ODD_BYTES = 2**14  # read row by row before a stretch is looked for again

_FIELD = re.compile(r'\s*(?:"([^"]*)"|([^\s"]+))(?=\s|$)')
_NOT_UTF8 = re.compile("[\ud800-\udfff]")  # how surrogateescape decodes such bytes
# The last number before the extension: x1/x1_t000012.mp4 is x1/x1_t, 000012, .mp4.
_NUMBERED = re.compile(r"(.*?)([0-9]{1,18})([^0-9]*(?:\.[A-Za-z0-9]+)?)")

# Line number, clip id, frame number, path, labels.
Row = tuple[int, str, str, str, str]
# Line number of the first row, clip id, its frame number, its path as prefix, number and suffix,
# labels, rows: in each row after the first, frame number and number are one more.
Stretch = tuple[int, str, str, str, str, str, str, int]


def read_rows(path: Path) -> Iterator[Row]:
    """Each row as (line number, clip id, frame number, path, labels), all but the first as text.

    Blank lines are passed over. Raises AnnotationError for a file that is not such a CSV, and
    SecurityError where a control character hides in an id or a path.
    """
    for line, clip_id, frame, prefix, number, suffix, labels, count in read_stretches(path):
        yield line, clip_id, frame, prefix + number + suffix, labels
        for more in range(1, count):
            next_frame = str(int(frame) + more).zfill(len(frame))
            next_number = str(int(number) + more).zfill(len(number))
            yield line + more, clip_id, next_frame, prefix + next_number + suffix, labels


def read_stretches(path: Path, seen: Callable[[bytes], None] | None = None) -> Iterator[Stretch]:
    """The rows as `read_rows` has them, those together that differ in their numbers alone.

    `seen` gets each piece of the file as it is read.
    """
    check_regular_file(path, max_bytes=MAX_BYTES)
    try:
        with path.open("rb", buffering=0) as file:
            lines = ByteLines(file, seen)
            header = ""
            while not header.strip() and (taken := lines.take(1)):
                header = taken[0][:MAX_LINE_CHARS]
            where = f"{path}:{lines.number if header.strip() else 1}"
            yield from _split_rows(path, lines, read_header(header, where))
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror})") from None


def _split_rows(path: Path, lines: ByteLines, columns: Columns) -> Iterator[Stretch]:
    ordinary = OrdinaryRows(columns)
    num_bytes = 1
    while True:
        lines.look_ahead()
        number = lines.number + 1
        found = ordinary.find(lines.view, lines.start, MAX_ROWS - lines.number)
        if found:
            stretch, end = (number, *found[:-1]), found[-1]
            lines.skip(stretch[-1], end)
            yield stretch
            if stretch[-1] > 1:
                num_bytes = 1
                continue
        number = lines.number + 1
        taken = lines.take(num_bytes)
        if not taken:
            return
        yield from _split_exactly(path, taken, number, columns)
        # Where one row is odd, many may be: the search for stretches then costs more than it saves.
        num_bytes = min(2 * num_bytes, _MAX_ODD_BYTES)


def _split_exactly(path: Path, lines: list[str], first: int, columns: Columns) -> Iterator[Stretch]:
    """The rows of `lines`, the first of which has the number `first`, one by one."""
    wanted = itemgetter(columns.clip, columns.frame, columns.path, columns.labels)
    parts = ("", "", "")
    for number, line in enumerate(lines, start=first):
        fields = line.split()
        if not fields and len(line) <= MAX_LINE_CHARS:
            continue
        plain = len(line) <= MAX_LINE_CHARS and line.isprintable()
        if not plain or '"' in line or len(fields) != columns.count:
            fields = _split_carefully(line, columns, f"{path}:{number}")
        if number > MAX_ROWS:
            raise AnnotationError(f"{path}: has more than the {MAX_ROWS:,} rows that are read")
        clip_id, frame, frame_path, labels = wanted(fields)
        parts = _split_like(parts, frame_path)
        yield (number, clip_id, frame, *parts, labels, 1)


def _split_like(parts: tuple[str, str, str], path: str) -> tuple[str, str, str]:
    """split_path(path), sooner where the path has prefix and suffix of the one before it."""
    prefix, _, suffix = parts
    number = path[len(prefix) : len(path) - len(suffix)]
    alike = path.startswith(prefix) and path.endswith(suffix) and not prefix[-1:].isdigit()
    if alike and number.isascii() and number.isdecimal() and len(number) <= 18:
        return prefix, number, suffix
    return split_path(path)


def split_path(path: str) -> tuple[str, str, str]:
    """`path` around its last number before the extension; (path, "", "") where it has none."""
    found = _NUMBERED.fullmatch(path)
    return (found[1], found[2], found[3]) if found else (path, "", "")


def _split_carefully(line: str, columns: Columns, where: str) -> list[str]:
    """The fields of a line with quotes, tabs or anything else that is not plain."""
    if len(line) > MAX_LINE_CHARS:
        raise AnnotationError(f"{where}: the line is longer than {MAX_LINE_CHARS:,} characters")
    if _NOT_UTF8.search(line):
        raise AnnotationError(f"{where}: is not UTF-8; save the file as UTF-8")
    fields, end = [], 0
    text = line.rstrip()
    while field := _FIELD.match(text, end):
        fields.append(field[1] if field[1] is not None else field[2])
        end = field.end()
    if end != len(text) or len(fields) != columns.count:
        refuse_spreadsheet(text, where)
    if end != len(text):
        raise AnnotationError(f"{where}: a quote is not closed in {shown(text[end:].strip())}")
    if len(fields) != columns.count:
        raise AnnotationError(
            f"{where}: {len(fields)} fields, but the header names {columns.count}; fields are "
            'separated by spaces or tabs, paths hold none, and no label is written ""'
        )
    if not text.replace("\t", " ").isprintable():
        check_id(fields[columns.clip], where)
        check_relative_path(fields[columns.path], where)
        raise AnnotationError(f"{where}: holds control characters: {shown(text)}; make it again")
    return fields

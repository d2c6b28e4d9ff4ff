"""Lines of a Charades-style CSV to named fields: header, quotes, encoding; not yet their meaning.

One row a frame, spaces or tabs between fields. Three spellings of the header are in use, and a
column `type` may follow; columns are found by name, so their order does not matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from pathlib import Path

from actionrec.data.input_checks import (
    AnnotationError,
    check_id,
    check_regular_file,
    check_relative_path,
    shown,
)

MAX_BYTES = 4 * 2**30
MAX_ROWS = 50_000_000
MAX_LINE_CHARS = 2**20

SPELLINGS = {
    "clip": ("original_vido_id", "original_video_id", "clip_id"),
    "clip number": ("video_id", "clip_number"),
    "frame": ("frame_id", "frame_number"),
    "path": ("path", "clip_path"),
    "labels": ("labels", "action_labels"),
    "type": ("type",),
}
_EXPECTED = "original_vido_id video_id frame_id path labels [type]"
_MEANING = {name: meaning for meaning, names in SPELLINGS.items() for name in names}
_FIELD = re.compile(r'\s*(?:"([^"]*)"|([^\s"]+))(?=\s|$)')
_UTF16_MARKS = ("\udcff\udcfe", "\udcfe\udcff")  # its byte order marks, so decoded
_NOT_UTF8 = re.compile("[\ud800-\udfff]")  # how surrogateescape decodes such bytes

Row = tuple[int, str, str, str, str]


@dataclass(frozen=True)
class Columns:
    """Where clip, frame, path and labels stand in a row of `count` fields."""

    count: int
    clip: int
    frame: int
    path: int
    labels: int


def read_rows(path: Path) -> Iterator[Row]:
    """Each row as (line number, clip id, frame number, path, labels), all but the first as text.

    Blank lines are passed over. Raises AnnotationError for a file that is not such a CSV, and
    SecurityError where a control character hides in an id or a path.
    """
    check_regular_file(path, max_bytes=MAX_BYTES)
    try:
        with path.open(encoding="utf-8-sig", errors="surrogateescape") as file:
            lines = enumerate(iter(partial(file.readline, MAX_LINE_CHARS + 1), ""), start=1)
            columns = _read_header(path, lines)
            yield from _split_rows(path, lines, columns)
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror})") from None


def _split_rows(path: Path, lines: Iterator[tuple[int, str]], columns: Columns) -> Iterator[Row]:
    wanted = itemgetter(columns.clip, columns.frame, columns.path, columns.labels)
    for number, line in lines:
        fields = line.split()
        if not fields:
            continue
        plain = len(line) <= MAX_LINE_CHARS and line.rstrip("\n").isprintable()
        if not plain or '"' in line or len(fields) != columns.count:
            fields = _split_carefully(line, columns, f"{path}:{number}")
        if number > MAX_ROWS:
            raise AnnotationError(f"{path}: has more than the {MAX_ROWS:,} rows that are read")
        yield (number, *wanted(fields))


def _read_header(path: Path, lines: Iterator[tuple[int, str]]) -> Columns:
    number, line = next(((n, text) for n, text in lines if text.strip()), (1, ""))
    names = [name.strip('"') for name in line[:MAX_LINE_CHARS].split()]
    place = {_MEANING[name]: i for i, name in enumerate(names) if name in _MEANING}
    missing = [SPELLINGS[m][0] for m in SPELLINGS if m not in place and m != "type"]
    if missing or len(place) != len(names):
        _refuse_spreadsheet(line, f"{path}:{number}")
        odd = [
            shown(name) for i, name in enumerate(names) if place.get(_MEANING.get(name, "")) != i
        ]
        problem = [f"lacks {' '.join(missing)}"] if missing else []
        problem += [f"has unknown or repeated {' '.join(odd[:5])}"] if odd else []
        raise AnnotationError(
            f"{path}:{number}: the header {' and '.join(problem)}; it must name the columns, with "
            f"spaces between: {_EXPECTED}"
        )
    return Columns(len(names), place["clip"], place["frame"], place["path"], place["labels"])


def _refuse_spreadsheet(line: str, where: str) -> None:
    """Raise AnnotationError where a line that is not as it should be is as those programs write."""
    text = line.strip()
    sign = ""
    if text.startswith(_UTF16_MARKS):
        sign = "it is UTF-16"
    elif text.startswith("PK\3\4"):
        sign = "it is a workbook"
    elif text[:1] == '"' == text[-1:] and " " in text[1:].partition('"')[0]:
        sign = "the whole line is in quotes"
    for mark, name in ((",", "commas"), (";", "semicolons")):
        if len(_MEANING.keys() & set(text.replace('"', "").split(mark))) > 1:
            sign = f"{name} between the fields"
    if sign:
        raise AnnotationError(
            f"{where}: looks saved by a spreadsheet program: {sign}; make or copy it again as "
            "UTF-8 text with single spaces between the fields, see annotations/README.md"
        )


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
        _refuse_spreadsheet(text, where)
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

"""Delimited text to rows and columns: what the formats with a header line share.

Columns are found by name, compared without case, spaces and signs: `Start (s)` is `start_s`.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from actionrec.data.input_checks import AnnotationError, check_regular_file, shown

MAX_BYTES = 64 * 2**20
DELIMITERS = {"\t": "tabs", ";": "semicolons", ",": "commas"}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")

Spellings = Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Sheet:
    """Rows with their line numbers; the first is the header. Lines above it are in `before`."""

    path: Path
    delimiter: str
    rows: tuple[tuple[int, list[str]], ...]
    before: tuple[tuple[int, list[str]], ...] = ()

    @property
    def header(self) -> list[str]:
        """The fields of the first row."""
        return self.rows[0][1]

    def from_row(self, index: int) -> Sheet:
        """The same file with row `index` as its header."""
        return Sheet(self.path, self.delimiter, self.rows[index:], self.rows[:index])


def read_text(path: Path) -> str:
    """A text file: UTF-8, or UTF-16 with its mark. Raises AnnotationError for anything else."""
    check_regular_file(path, max_bytes=MAX_BYTES)
    try:
        content = path.read_bytes()
        text = content.decode("utf-16" if content.startswith(_UTF16) else "utf-8-sig")
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise AnnotationError(
            f"{path}:{line}: is not UTF-8 text; export or save it as CSV UTF-8"
        ) from None
    if "\0" in text:
        raise AnnotationError(f"{path}: is not a text file; export it as CSV, TSV or text")
    return text


def split_rows(path: Path, text: str, delimiter: str) -> Sheet:
    """The rows that are not blank. Raises AnnotationError where quotes make no sense."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    rows = []
    try:
        for fields in reader:
            if any(field.strip() for field in fields):
                rows.append((reader.line_num, [field.strip() for field in fields]))
    except csv.Error as error:
        raise AnnotationError(
            f"{path}:{reader.line_num}: cannot be split into fields ({error}); is a quote open?"
        ) from None
    return Sheet(path, delimiter, tuple(rows))


def plain_name(name: str) -> str:
    """`Start (s)` and `start_s` are one name: `starts`."""
    return re.sub(r"[\W_]+", "", name.casefold())


def find_columns(header: Sequence[str], spellings: Spellings) -> dict[str, int]:
    """Where each column of `spellings` stands; those that the header lacks are left out."""
    meaning = {plain_name(s): column for column, names in spellings.items() for s in names}
    return {
        meaning[plain_name(name)]: place
        for place, name in reversed(list(enumerate(header)))
        if plain_name(name) in meaning
    }


def records(sheet: Sheet, spellings: Spellings) -> Iterator[tuple[str, dict[str, str]]]:
    """(`file:line`, text by column) for each row below the header.

    Raises AnnotationError when two columns have one meaning, or a row has more fields than the
    header.
    """
    places = find_columns(sheet.header, spellings)
    _refuse_doubles(sheet, spellings)
    for line, fields in sheet.rows[1:]:
        where = f"{sheet.path}:{line}"
        if any(fields[len(sheet.header) :]):
            hint = "; a decimal comma? write 12.5" if sheet.delimiter == "," else ""
            raise AnnotationError(
                f"{where}: {len(fields)} fields between {DELIMITERS[sheet.delimiter]}, but the "
                f"header names {len(sheet.header)}{hint}"
            )
        filled = fields + [""] * (len(sheet.header) - len(fields))
        yield where, {column: filled[place] for column, place in places.items()}


def _refuse_doubles(sheet: Sheet, spellings: Spellings) -> None:
    for column, names in spellings.items():
        known = {plain_name(name) for name in names}
        found = [name for name in sheet.header if plain_name(name) in known]
        if len(found) > 1:
            raise AnnotationError(
                f"{sheet.path}:{sheet.rows[0][0]}: {' and '.join(map(shown, found))} both name "
                f"the {column}; delete or rename one column"
            )

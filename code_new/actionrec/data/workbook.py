"""Tables from .xlsx workbooks: rows by column name, and the class counts that losses take."""

from __future__ import annotations

import re
import warnings
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import openpyxl

from actionrec.data.input_checks import AnnotationError, shown
from actionrec.data.workbook_checks import check_archive, check_plain_sheet
from actionrec.errors import UserError

COUNT_SHEET = "AR_count"
_MAX_ROWS, _MAX_COLUMNS = 2**20, 64
# What openpyxl raises for archives that are no workbooks, beside OSError. SyntaxError: broken XML.
_UNREADABLE = (
    BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    SyntaxError,
    NotImplementedError,
)


@dataclass(frozen=True)
class SheetRow:
    """One row: `where` names file, sheet and row for messages; `cells` by column name."""

    where: str
    cells: dict[str, object]

    def whole_number(self, column: str) -> int:
        """The cell as a number from 0 up; also where it is stored as text or as 4.0."""
        value = self.cells[column]
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,15}", value.strip()):
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise AnnotationError(f"{self.where}: {column} {self._said(value)} as a whole number")
        return value

    def text(self, column: str) -> str:
        """The cell as text without spaces around it."""
        value = self.cells[column]
        if not isinstance(value, str) or not value.strip() or not value.strip().isprintable():
            raise AnnotationError(f"{self.where}: {column} {self._said(value)} as text")
        return value.strip()

    def _said(self, value: object) -> str:
        if value is None:
            # A formula that no spreadsheet program has calculated yet has no stored value.
            return "is empty, or a formula without a stored value; write it"
        return f"is {shown(value)}, {type(value).__name__}; write it"


def read_sheet(
    path: Path,
    sheet: str,
    columns: Sequence[str],
    *,
    optional: Sequence[str] = (),
    or_first: bool = False,
) -> list[SheetRow]:
    """Rows of a sheet whose first row names the columns. Rows without any of them are passed over.

    or_first: take the first sheet when there is none called `sheet`. `optional` columns that the
    sheet lacks are not in `cells`. Raises AnnotationError for a missing sheet or column, hidden
    rows or merged cells, SecurityError for an archive that is made to do harm.
    """
    check_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of styles and extensions that are not read
            book = openpyxl.load_workbook(path, read_only=True, data_only=True, keep_links=False)
        try:
            name = _choose_sheet(path, book.sheetnames, sheet, or_first)
            found = book[name]
            check_plain_sheet(path, name, found._worksheet_path)
            found.reset_dimensions()  # the declared size may be wrong and would cut rows off
            # The limits keep a row or column number in the file from deciding how much is made.
            rows = found.iter_rows(max_row=_MAX_ROWS, max_col=_MAX_COLUMNS, values_only=True)
            return list(_named_rows(f"{path}: sheet {shown(name)}", rows, columns, optional))
        finally:
            book.close()
    except UserError:
        raise
    except _UNREADABLE as error:
        raise AnnotationError(
            f"{path}: is not a readable .xlsx workbook ({shown(error)}); open it in a spreadsheet "
            "program and save it as .xlsx"
        ) from None


def _choose_sheet(path: Path, names: list[str], wanted: str, or_first: bool) -> str:
    if wanted in names:
        return wanted
    if or_first and names:
        return names[0]
    known = ", ".join(shown(name) for name in names[:10])
    raise AnnotationError(f"{path}: has no sheet {wanted!r}, only {known}; is it the right file?")


def _named_rows(
    where: str, rows: Iterator[tuple], columns: Sequence[str], optional: Sequence[str]
) -> Iterator[SheetRow]:
    header = [str(name).strip() if name is not None else "" for name in next(rows, ())]
    for column in columns:
        if column not in header:
            known = ", ".join(shown(name) for name in header if name)
            raise AnnotationError(
                f"{where}: row 1 names no column {column!r}, only {known or 'nothing'}"
            )
    for column in (*columns, *optional):
        if header.count(column) > 1:
            raise AnnotationError(f"{where}: row 1 names the column {column!r} twice; rename one")
    places = {c: header.index(c) for c in (*columns, *optional) if c in header}
    for number, row in enumerate(rows, start=2):
        cells = {c: row[i] if i < len(row) else None for c, i in places.items()}
        if any(value is not None for value in cells.values()):
            yield SheetRow(f"{where}, row {number}", cells)


def rows_by_class(path: Path, rows: list[SheetRow], num_classes: int | None) -> list[SheetRow]:
    """Rows of a class table in the order of `index`, or as they are where it has no such column.

    num_classes None: as many as there are rows. Raises AnnotationError unless each class has
    exactly one row.
    """
    if num_classes is not None and len(rows) != num_classes:
        raise AnnotationError(
            f"{path}: names {len(rows)} classes, but MODEL.NUM_CLASSES is {num_classes}"
        )
    if not rows or "index" not in rows[0].cells:
        return rows
    by_index: dict[int, SheetRow] = {}
    for row in rows:
        index = row.whole_number("index")
        if index >= len(rows):
            raise AnnotationError(f"{row.where}: index {index} is outside 0..{len(rows) - 1}")
        if index in by_index:
            raise AnnotationError(
                f"{row.where}: index {index} is already in {by_index[index].where}"
            )
        by_index[index] = row
    return [by_index[index] for index in range(len(rows))]


def read_class_counts(path: Path, num_classes: int) -> np.ndarray:
    """(C,) int64 from the sheet `AR_count`, or the first one: column `count`, matched by `index`.

    Without a column `index` row 1 after the header is class 0. Raises AnnotationError.
    """
    rows = read_sheet(path, COUNT_SHEET, ["count"], optional=["index"], or_first=True)
    counts = [row.whole_number("count") for row in rows_by_class(path, rows, num_classes)]
    return np.array(counts, dtype=np.int64)


def count_conflicts(workbook_counts: np.ndarray, train_counts: np.ndarray) -> list[str]:
    """One line for each class whose count in the workbook is not its number of training clips."""
    return [
        f"class {label}: {table} in the workbook, {train} training clips"
        for label, (table, train) in enumerate(
            zip(workbook_counts.tolist(), train_counts.tolist(), strict=True)
        )
        if table != train
    ]

"""Names of the classes, read from `df_action.xlsx`'s format or from JSON; and such a table made.

The table: sheet `AR_count`, columns `S/N` (rank by count), `action_category`, `action`, `index`
(the label), `segment`, `count`; one row a class, in the order of `index`.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openpyxl

from actionrec.atomic_file import atomic_file
from actionrec.data.input_checks import AnnotationError, check_regular_file, shown
from actionrec.data.workbook import COUNT_SHEET, SheetRow, read_sheet, rows_by_class

COLUMNS = ("S/N", "action_category", "action", "index", "segment", "count")
OFFICIAL_CUTS = (500, 100)  # head above the first, tail up to the second, in clips
_MAX_JSON_BYTES = 2**20
_TIMES = re.compile(rb"(<dcterms:(?:created|modified)[^>]*>)[^<]*")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first moment that a zip can name


@dataclass(frozen=True)
class ActionClass:
    """One class; category "" where the table gives none."""

    name: str
    category: str = ""


def read_class_names(path: Path, num_classes: int) -> tuple[str, ...]:
    """Names in the order of the labels, from .xlsx or from JSON `{name: label}`.

    Raises AnnotationError unless each label 0..num_classes-1 has exactly one name.
    """
    if path.suffix.lower() == ".json":
        return _read_json(path, num_classes)
    return tuple(c.name for c in read_classes(path, num_classes))


def read_classes(path: Path, num_classes: int | None = None) -> tuple[ActionClass, ...]:
    """Names and categories from .xlsx. num_classes None: as many as the table has rows."""
    rows = read_sheet(
        path, COUNT_SHEET, ["index", "action"], optional=["action_category"], or_first=True
    )
    if not rows:
        raise AnnotationError(f"{path}: names no classes; is it the right file?")
    return tuple(to_class(row, "action") for row in rows_by_class(path, rows, num_classes))


def to_class(row: SheetRow, name: str, category: str = "action_category") -> ActionClass:
    """The class in a row whose columns `name` and, if it is there, `category` describe it."""
    given = row.cells.get(category)
    return ActionClass(row.text(name), row.text(category) if given is not None else "")


def _read_json(path: Path, num_classes: int) -> tuple[str, ...]:
    check_regular_file(path, max_bytes=_MAX_JSON_BYTES)
    try:
        pairs = json.loads(path.read_bytes(), object_pairs_hook=list)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{path}: is not JSON ({shown(error)})") from None
    if not isinstance(pairs, list) or not all(isinstance(pair, tuple) for pair in pairs):
        raise AnnotationError(f'{path}: must be one object of names and labels: {{"Eating": 40}}')
    names: dict[int, str] = {}
    for name, label in pairs:
        if type(label) is not int or not 0 <= label < num_classes:
            raise AnnotationError(
                f"{path}: label {shown(label)} of {shown(name)} is outside 0..{num_classes - 1}; "
                "check MODEL.NUM_CLASSES"
            )
        if label in names:
            raise AnnotationError(
                f"{path}: label {label} has two names, {shown(names[label])} and {shown(name)}"
            )
        if not name.strip() or not name.isprintable():
            raise AnnotationError(f"{path}: label {label} has no readable name: {shown(name)}")
        names[label] = name
    if len(names) != num_classes:
        missing = next(label for label in range(num_classes) if label not in names)
        raise AnnotationError(
            f"{path}: names {len(names)} classes, but MODEL.NUM_CLASSES is {num_classes}; "
            f"label {missing} has none"
        )
    return tuple(names[label] for label in range(num_classes))


def write_class_table(
    path: Path,
    names: Sequence[str],
    counts: Sequence[int] | np.ndarray,
    categories: Sequence[str] | None = None,
) -> None:
    """Write the table for `names` and clip `counts` (C,). Equal values give equal bytes."""
    with atomic_file(path) as file:
        file.write(class_table_bytes(names, counts, categories))


def class_table_bytes(
    names: Sequence[str],
    counts: Sequence[int] | np.ndarray,
    categories: Sequence[str] | None = None,
    cuts: tuple[int, int] = OFFICIAL_CUTS,
) -> bytes:
    """What write_class_table writes; `cuts` divide the classes in the column `segment`."""
    counts = [int(count) for count in counts]
    ranks = np.argsort(np.argsort([-count for count in counts], kind="stable")) + 1
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = COUNT_SHEET
    sheet.append(COLUMNS)
    of_category = categories or [""] * len(names)
    for label, (name, category, count) in enumerate(zip(names, of_category, counts, strict=True)):
        row = label + 2
        values = (int(ranks[label]), category or None, name, label, segment_of(count, cuts), count)
        for column, value in enumerate(values, start=1):
            cell = sheet.cell(row, column, value)
            if isinstance(value, str):
                cell.data_type = "s"  # a name that begins with "=" is no formula
    content = io.BytesIO()
    book.save(content)
    return _without_times(content.getvalue())


def segment_of(count: int, cuts: tuple[int, int]) -> str:
    """head, middle or tail."""
    if count > cuts[0]:
        return "head"
    return "tail" if count <= cuts[1] else "middle"


def _without_times(workbook: bytes) -> bytes:
    """The same workbook without the time at which it was made."""
    content = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(workbook)) as source,
        zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for name in source.namelist():
            part = _TIMES.sub(rb"\g<1>1980-01-01T00:00:00Z", source.read(name))
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type = zipfile.ZIP_DEFLATED
            target.writestr(entry, part)
    return content.getvalue()

"""The two tables that tell of classes: `df_action.xlsx`, and the official workbook."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actionrec.data.class_table import ActionClass, to_class
from actionrec.data.doctor.clip_texts import ClipText, read_clip_texts
from actionrec.data.input_checks import AnnotationError
from actionrec.data.metadata import Metadata, read_metadata
from actionrec.data.workbook import COUNT_SHEET, read_sheet, rows_by_class


@dataclass(frozen=True, eq=False)
class ClassTable:
    """`df_action.xlsx`, by label. counts (C,) int64, None where it has no column for them.

    num_serial_equal: rows whose `S/N` is their label; None where it has not both columns.
    """

    path: Path
    classes: tuple[ActionClass, ...]
    counts: np.ndarray | None
    num_serial_equal: int | None


@dataclass(frozen=True)
class Workbook:
    """`AR_metadata.xlsx`; texts and labels by clip id."""

    path: Path
    metadata: Metadata
    texts: dict[str, ClipText]
    labels: dict[str, tuple[int, ...]]


def read_class_table(path: Path, num_classes: int | None) -> ClassTable:
    """num_classes None: as many as the table has rows. Raises AnnotationError, SecurityError."""
    optional = ["index", "action_category", "count", "S/N"]
    rows = read_sheet(path, COUNT_SHEET, ["action"], optional=optional, or_first=True)
    if not rows:
        raise AnnotationError(f"{path}: names no classes; is it the right file?")
    rows = rows_by_class(path, rows, num_classes)
    has = rows[0].cells.keys()
    counts = [row.whole_number("count") for row in rows] if "count" in has else None
    equal = [row.cells["S/N"] == label for label, row in enumerate(rows)] if "S/N" in has else []
    return ClassTable(
        path,
        tuple(to_class(row, "action") for row in rows),
        None if counts is None else np.array(counts, dtype=np.int64),
        sum(equal) if equal and "index" in has else None,
    )


def read_workbook(path: Path) -> Workbook:
    """Raises AnnotationError, SecurityError."""
    metadata = read_metadata(path)
    labels = {clip.clip_id: clip.labels for clip in metadata.clips}
    return Workbook(path, metadata, read_clip_texts(path), labels)

"""The classes: do the table, the official workbook and the clips agree?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from actionrec.data.doctor.class_counts import check_counts
from actionrec.data.doctor.class_names import (
    NameEvidence,
    check_agreement,
    check_names,
    count_names,
)
from actionrec.data.doctor.clip_texts import check_texts
from actionrec.data.doctor.corrected_table import write_corrected
from actionrec.data.doctor.findings import Finding, Severity
from actionrec.data.doctor.sources import ClassTable, Workbook
from actionrec.data.doctor.unseen_animals import check_unseen_animals
from actionrec.errors import UserError, first_few


def check_classes(
    table: ClassTable | None,
    book: Workbook | None,
    counts: tuple[np.ndarray, np.ndarray] | None,
) -> Iterator[Finding]:
    """counts: training and test clips of each class, (C,) both; None where they are not known."""
    if table is not None and counts is not None:
        yield from check_counts(table, *counts)
    if book is None:
        return
    for note in book.metadata.notes:
        yield Finding(Severity.NOTE, "workbook_note", note)
    evidence, actions = gather_evidence(table, book), _names(book)
    sheet = f"sheet Action of {book.path}"
    if table is not None and len(table.classes) == len(actions):
        yield from check_names(str(table.path), _names(table), evidence, Severity.WARNING)
        yield from check_agreement(str(table.path), _names(table), sheet, actions, evidence)
    elif table is not None:
        yield Finding(
            Severity.WARNING,
            "other_classes",
            f"{table.path} names {len(table.classes)} classes, {sheet} {len(actions)}",
            fix="one of the two belongs to other data: name the right one",
        )
    yield from check_names(sheet, actions, evidence, Severity.NOTE)
    yield from check_texts(book.path, book.texts, book.labels)
    yield from check_unseen_animals(book.path, set(book.labels))


def write_class_table(
    out: Path, table: ClassTable | None, book: Workbook | None, train_counts: np.ndarray | None
) -> list[str]:
    """Write the table, or the workbook's classes, corrected; a line for each change.

    train_counts: (C,). Raises UserError when there is nothing to correct, or no way to.
    """
    classes, others = (table.classes if table else ()), (book.metadata.classes if book else ())
    if train_counts is None or not (classes or others):
        lacks = "train.csv" if train_counts is None else "a class table or --metadata FILE"
        raise UserError(f"--write-class-table {out}: cannot be made without {lacks}")
    evidence = gather_evidence(table, book) if book else None
    lengths = {len(train_counts), *(len(of) for of in (classes, others) if of)}
    if len(lengths) > 1:
        raise UserError(
            f"--write-class-table {out}: the sources have {first_few(sorted(lengths))} classes; "
            "name those of one data set"
        )
    old_counts = table.counts if table else None
    return write_corrected(out, classes or others, others, evidence, train_counts, old_counts)


def gather_evidence(table: ClassTable | None, book: Workbook) -> NameEvidence:
    """The clips counted under all names that the table and the workbook know."""
    names = [*_names(book), *(_names(table) if table else ())]
    return count_names(names, len(book.metadata.classes), book.texts, book.labels)


def _names(of: ClassTable | Workbook) -> list[str]:
    classes = of.classes if isinstance(of, ClassTable) else of.metadata.classes
    return [action.name for action in classes]

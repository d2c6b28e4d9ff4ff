"""Does the class table count the clips that the annotation has?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from actionrec.data.class_table import OFFICIAL_CUTS, segment_of
from actionrec.data.doctor.findings import Finding, Severity
from actionrec.data.doctor.sources import ClassTable


def check_counts(table: ClassTable, train: np.ndarray, test: np.ndarray) -> Iterator[Finding]:
    """Compare the column `count` with the clips, train and test (C,)."""
    counted, both = table.counts, train + test
    if counted is not None and not np.array_equal(counted, train):
        wrong = np.flatnonzero(counted != train).tolist()
        yield Finding(
            Severity.NOTE,
            "table_counts",
            f"{table.path} does not count these clips: {int((counted == train).sum())} of "
            f"{len(train)} counts equal the training clips, {int((counted == both).sum())} those "
            f"of both splits; its sum is {int(counted.sum()):,}, the labels are "
            f"{int(train.sum()):,} in training, {int(both.sum()):,} in both",
            len(wrong),
            tuple(f"class {c}: {counted[c]}, train {train[c]}, test {test[c]}" for c in wrong),
            "leave LOSS.CLASS_COUNTS empty: classes are then counted in train.csv; or write a "
            "table that counts them: --write-class-table",
        )
        yield from _check_segments(table.path, counted, train)
    if table.num_serial_equal is not None and table.num_serial_equal < len(train):
        yield Finding(
            Severity.NOTE,
            "serial_number",
            f"{table.path}: column 'S/N' is not the label (equal in {table.num_serial_equal} of "
            f"{len(train)} rows); the label is 'index'",
        )


def _check_segments(path: Path, counted: np.ndarray, train: np.ndarray) -> Iterator[Finding]:
    of_table, of_train = ([segment_of(n, OFFICIAL_CUTS) for n in of] for of in (counted, train))
    moved = [c for c in range(len(train)) if of_table[c] != of_train[c]]
    if moved:
        yield Finding(
            Severity.NOTE,
            "table_segments",
            f"{len(moved)} classes are in another of head, middle and tail by the counts of {path} "
            f"than by the training clips (cuts {OFFICIAL_CUTS[0]} and {OFFICIAL_CUTS[1]})",
            len(moved),
            tuple(f"class {c}: {of_table[c]}, by training clips {of_train[c]}" for c in moved),
            "say by which definition a figure is: METRICS.SEGMENTS",
        )

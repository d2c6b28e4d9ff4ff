"""A class table with the names that the clips support and the counts of the training clips."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from actionrec.data.class_table import (
    OFFICIAL_CUTS,
    ActionClass,
    segment_of,
    write_class_table,
)
from actionrec.data.doctor.class_names import NameEvidence
from actionrec.data.doctor.clip_texts import normalised
from actionrec.errors import UserError


def write_corrected(
    out: Path,
    classes: Sequence[ActionClass],
    others: Sequence[ActionClass],
    evidence: NameEvidence | None,
    train_counts: np.ndarray,
    old_counts: np.ndarray | None,
) -> list[str]:
    """Write `classes` corrected; a line for each change.

    others: where the spelling of a name is found that `classes` lacks. Counts (C,). Raises
    UserError when two classes would get one name.
    """
    spelt = {normalised(c.name): c for c in (*others, *classes)}
    better = evidence.better_names([c.name for c in classes]) if evidence else {}
    corrected = [spelt[better[c]] if c in better else of for c, of in enumerate(classes)]
    first: dict[str, int] = {}
    for label, of in enumerate(corrected):
        other = first.setdefault(normalised(of.name), label)
        if other != label:
            raise UserError(
                f"--write-class-table {out}: the classes {other} and {label} would both be "
                f"{of.name!r}; correct the class table by hand"
            )
    names, categories = [c.name for c in corrected], [c.category for c in corrected]
    write_class_table(out, names, train_counts, categories)
    lines = [f"{out}: written, {len(names)} classes, clips counted in train.csv"]
    if evidence:
        lines += [
            f"  class {label}: {classes[label].name!r} is now {names[label]!r}: "
            f"{evidence.said(label, names[label])}"
            for label in better
        ]
    if old_counts is not None:
        lines += _count_changes(old_counts.tolist(), train_counts.tolist())
    return lines


def _count_changes(old: list[int], new: list[int]) -> list[str]:
    changes = [(c, *pair) for c, pair in enumerate(zip(old, new, strict=True)) if len({*pair}) > 1]
    segments = [(c, *(segment_of(n, OFFICIAL_CUTS) for n in pair)) for c, *pair in changes]
    moved = [(c, a, b) for c, a, b in segments if a != b]
    return [
        f"  {len(found)} {what}: {', '.join(f'class {c} {a} -> {b}' for c, a, b in found)}"
        for what, found in (("counts changed", changes), ("segments changed", moved))
        if found
    ]

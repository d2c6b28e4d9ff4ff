"""Do the official workbook and the annotation tell of the same clips?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from actionrec.data.clip_table import ClipTable
from actionrec.data.doctor.findings import Finding, Severity
from actionrec.data.metadata import Metadata


def check_against_workbook(
    path: Path, metadata: Metadata, tables: dict[str, ClipTable]
) -> Iterator[Finding]:
    """Compare the workbook with the tables of its splits, `train` and `test`."""
    split_of = {clip.clip_id: clip.split for clip in metadata.clips}
    labels_of = {clip.clip_id: clip.labels for clip in metadata.clips}
    of_annotation = {c: split for split, table in tables.items() for c in table.ids}
    not_there = [c for c, split in split_of.items() if c not in of_annotation and split in tables]
    unknown = [c for c in of_annotation if c not in split_of]
    moved = [c for c, split in of_annotation.items() if split_of.get(c, split) != split]
    relabelled = [
        clip_id
        for table in tables.values()
        for clip, clip_id in enumerate(table.ids)
        if clip_id in labels_of
        and not np.array_equal(table.labels(clip), np.sort(labels_of[clip_id]))
    ]
    of_all = f"of the {len(split_of):,} clips of {path}"
    for severity, kind, clips, what, fix in (
        (Severity.NOTE, "left_out", not_there, f"{of_all} are not in the annotation", ""),
        (Severity.NOTE, "not_official", unknown, f"clips of the annotation are not in {path}", ""),
        (
            Severity.WARNING,
            "other_split",
            moved,
            f"{of_all} are in the other split of the annotation",
            "figures are not comparable with others on this data; make the annotation again",
        ),
        (
            Severity.WARNING,
            "other_labels",
            relabelled,
            f"{of_all} have other labels in the annotation",
            "make the annotation again: tools/make_annotations.py",
        ),
    ):
        if clips:
            yield Finding(severity, kind, f"{len(clips):,} {what}", len(clips), tuple(clips), fix)

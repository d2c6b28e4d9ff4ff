"""Charades-style CSV to ClipTable: `read_clips(path, num_classes=140)`."""

from __future__ import annotations

from pathlib import Path

from actionrec.data.clip_table import ClipTable, check_disjoint
from actionrec.data.input_checks import AnnotationError
from actionrec.data.rows.content_hash import ContentHash
from actionrec.data.rows.csv_rows import read_stretches
from actionrec.data.rows.index_cache import cached_table
from actionrec.data.rows.label_sets import LabelSets
from actionrec.data.rows.stretches import Stretches

__all__ = ["AnnotationError", "ClipTable", "check_disjoint", "read_clips"]


def read_clips(path: Path, *, num_classes: int, unlabelled_frames: bool = False) -> ClipTable:
    """Read one split. Labels are 0..num_classes-1. A large file leaves an index for the next time.

    unlabelled_frames: a row may have no label (`""`), as in Charades. Raises AnnotationError with
    file and line for a row that cannot be right, SecurityError for an id or a path that could lead
    out of its folder.
    """

    def read() -> ClipTable:
        content = ContentHash()
        rows = Stretches(path, LabelSets(num_classes, unlabelled_frames))
        for stretch in read_stretches(path, content.add):
            rows.add(stretch)
        if not len(rows):
            raise AnnotationError(f"{path}: has a header but no rows; make or copy it again")
        return rows.to_table(content.hexdigest())

    return cached_table(path, read, num_classes=num_classes, unlabelled_frames=unlabelled_frames)

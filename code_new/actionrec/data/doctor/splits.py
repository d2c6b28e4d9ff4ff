"""What is to be known of train.csv and val.csv by themselves."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from actionrec.data.clip_table import ClipTable
from actionrec.data.doctor.findings import Finding, Severity

FEW = 5  # with fewer test clips than this, an average precision says little


def split_facts(table: ClipTable, num_classes: int) -> dict[str, int | float | str]:
    """Numbers for the head of the page."""
    num_labels = np.count_nonzero(table.targets(num_classes), axis=1)
    frames = table.num_frames
    return {
        "clips": len(table),
        "frames": int(frames.sum()),
        "frames in the shortest clip": int(frames.min()),
        "in the median one": int(np.median(frames)),
        "in the longest one": int(frames.max()),
        "labels": int(num_labels.sum()),
        "labels a clip": round(float(num_labels.mean()), 2),
        "at most": int(num_labels.max()),
        "clips with one label": int(np.count_nonzero(num_labels == 1)),
    }


def check_split(table: ClipTable) -> Iterator[Finding]:
    """What the reader noted: labels that repeat, frame numbers that do not rise."""
    for note in table.notes:
        yield Finding(Severity.NOTE, "reader_note", note)


def check_disjoint(train: ClipTable, val: ClipTable) -> Iterator[Finding]:
    """Clips that are trained on and tested on."""
    in_train = set(train.ids)
    shared = tuple(clip_id for clip_id in val.ids if clip_id in in_train)
    if shared:
        yield Finding(
            Severity.ERROR,
            "in_both_splits",
            f"{len(shared):,} clips are in {train.source} and in {val.source}: the test would "
            "measure memory",
            len(shared),
            shared,
            "take each out of one of the two",
        )


def check_class_sizes(train_counts: np.ndarray, test_counts: np.ndarray) -> Iterator[Finding]:
    """Classes with too few clips to learn or to measure. Counts (C,)."""
    num_classes = len(train_counts)
    for kind, counts, low, high, what in (
        ("no_train_clip", train_counts, 0, 0, "no training clip: a model cannot learn them"),
        ("one_train_clip", train_counts, 1, 1, "one training clip"),
        ("few_train_clips", train_counts, 2, FEW - 1, f"2 to {FEW - 1} training clips"),
        ("no_test_clip", test_counts, 0, 0, "no test clip: mAP leaves them out"),
        ("few_test_clips", test_counts, 1, FEW - 1, f"1 to {FEW - 1} test clips: their AP is luck"),
    ):
        classes = np.flatnonzero((counts >= low) & (counts <= high)).tolist()
        if classes:
            yield Finding(
                Severity.NOTE,
                kind,
                f"{len(classes)} of {num_classes} classes have {what}",
                len(classes),
                tuple(map(str, classes)),
            )

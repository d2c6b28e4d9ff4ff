"""The scores of a test on disk: upstream's pickle, and a CSV with clip ids and class names."""

from __future__ import annotations

import csv
import io
import pickle  # noqa: S403 - written for upstream's readers, never read here
from pathlib import Path

import numpy as np
import torch

from actionrec.atomic_file import atomic_file


def cell(text: str) -> str:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def save_results(
    path: Path,
    *,
    ids: tuple[str, ...],
    class_names: tuple[str, ...],
    scores: np.ndarray,
    targets: np.ndarray,
) -> Path:
    """Save scores and targets (K, C); returns the path of the CSV.

    The pickle is `[scores, labels]` as two CPU tensors, as upstream writes it. The CSV has a line
    a clip: clip_id, labels (numbers joined by commas), and a score for each class.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        pickle.dump([torch.as_tensor(scores), torch.as_tensor(targets)], file)
    table = path.with_suffix(".csv")
    with atomic_file(table) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["clip_id", "labels", *map(cell, class_names)])
        for clip, row, target in zip(ids, scores, targets, strict=True):
            labels = ",".join(map(str, np.flatnonzero(target)))
            rows.writerow([cell(clip), labels, *(f"{s:.6g}" for s in row)])
        text.detach()  # flushes, and leaves the file open
    return table

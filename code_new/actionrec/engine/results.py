"""The scores of a test on disk: upstream's pickle, and a CSV with clip ids and class names."""

from __future__ import annotations

import csv
import os
import pickle  # noqa: S403 - written for upstream's readers, never read here
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import torch


def _replace(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Write beside `path`, then rename: the old file or the new one, never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("xb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


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
    pair = [torch.as_tensor(scores), torch.as_tensor(targets)]
    _replace(path, lambda file: pickle.dump(pair, file))
    table = path.with_suffix(".csv")

    def write(file: IO[bytes]) -> None:
        import io

        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["clip_id", "labels", *map(cell, class_names)])
        for clip, row, target in zip(ids, scores, targets, strict=True):
            labels = ",".join(map(str, np.flatnonzero(target)))
            rows.writerow([cell(clip), labels, *(f"{s:.6g}" for s in row)])
        text.flush()
        text.detach()

    _replace(table, write)
    return table

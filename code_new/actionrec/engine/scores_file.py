"""The scores of a test in one portable file: `scores.npz`, plain arrays that any numpy opens.

ids (K,) and class_names (C,) text; scores (K, C) float64, NaN for a clip that could not be read;
targets (K, C) uint8; train_counts (C,) int64, empty where training was not read; about: JSON.
"""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from actionrec.atomic_file import atomic_file
from actionrec.errors import UserError

FILE_NAME = "scores.npz"
_ARRAYS = ("ids", "class_names", "scores", "targets", "train_counts", "about")


@dataclass(frozen=True, eq=False)
class Scores:
    """What one test measured, and `about` it: views, checkpoint, hashes of its inputs."""

    ids: tuple[str, ...]
    class_names: tuple[str, ...]
    scores: np.ndarray
    targets: np.ndarray
    train_counts: np.ndarray | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def of_read_clips(self) -> tuple[np.ndarray, np.ndarray]:
        """The scores and targets without the clips that could not be read."""
        read = ~np.isnan(self.scores).any(axis=1)
        return self.scores[read], self.targets[read]


def save_scores(path: Path, scores: Scores) -> None:
    """Write the file, whole or not at all. Raises OSError."""
    counts = np.zeros(0) if scores.train_counts is None else scores.train_counts
    with atomic_file(path) as file:
        np.savez_compressed(
            file,
            ids=np.asarray(scores.ids, dtype=np.str_),
            class_names=np.asarray(scores.class_names, dtype=np.str_),
            scores=np.asarray(scores.scores, dtype=np.float64),
            targets=np.asarray(scores.targets).astype(np.uint8),
            train_counts=np.asarray(counts, dtype=np.int64),
            about=np.asarray(json.dumps(scores.about, sort_keys=True)),
        )


def load_scores(path: Path) -> Scores:
    """Read what `save_scores` wrote; nothing of the file is executed. Raises UserError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _ARRAYS}
        about = json.loads(str(arrays["about"]))
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; a test of tools/run_net.py writes it") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: is no file of scores, or damaged ({error}); test again") from None
    scores, targets = arrays["scores"], arrays["targets"]
    shape = (len(arrays["ids"]), len(arrays["class_names"]))
    if scores.shape != shape or targets.shape != shape or not isinstance(about, dict):
        raise UserError(f"{path}: its arrays do not fit each other; test again")
    counts = arrays["train_counts"]
    return Scores(
        tuple(arrays["ids"].tolist()),
        tuple(arrays["class_names"].tolist()),
        scores,
        targets,
        counts if len(counts) else None,
        about,
    )

"""The clips of one split: ids, frame paths and labels, in a few arrays instead of a string a frame.

K clips, R rows (frames), U runs. A run is a stretch of rows of one clip with equal labels whose
paths differ in one number alone, so Animal Kingdom needs one run a clip; a clip whose paths follow
no pattern has one run a row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actionrec.data.input_checks import AnnotationError


@dataclass(frozen=True, eq=False)
class ClipTable:
    """Clips in the order of their first row; frames of a clip in the order of the file.

    `lines` (K,) int64: the line of each clip's first row; `notes`: one line for each thing that was
    accepted but that the user should know. The other fields are how rows are stored:
    row_offsets (K+1,) int64; path_numbers (R,) int; path_digits (R,) uint8, the number of digits,
    0 where the path has no number; run_starts (U,) int64 rows; run_labels (U,) int32, indices into
    label_sets, each (L,) int64 and sorted.
    """

    source: Path
    ids: tuple[str, ...]
    lines: np.ndarray
    notes: tuple[str, ...]
    row_offsets: np.ndarray
    path_numbers: np.ndarray
    path_digits: np.ndarray
    run_starts: np.ndarray
    run_prefixes: tuple[str, ...]
    run_suffixes: tuple[str, ...]
    run_labels: np.ndarray
    label_sets: tuple[np.ndarray, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def num_frames(self) -> np.ndarray:
        """(K,) int64: rows of each clip."""
        return np.diff(self.row_offsets)

    def frame_paths(self, clip: int, frame_indices: Iterable[int]) -> list[str]:
        """Paths as they stand in the file, for frames counted from 0 in the order of the file.

        Raises IndexError for a frame that the clip does not have.
        """
        wanted = np.fromiter(frame_indices, dtype=np.int64)
        num_frames = int(self.row_offsets[clip + 1] - self.row_offsets[clip])
        if wanted.size and (wanted.min() < 0 or wanted.max() >= num_frames):
            raise IndexError(f"clip {self.ids[clip]} has frames 0..{num_frames - 1}: {wanted}")
        rows = self.row_offsets[clip] + wanted
        runs = np.searchsorted(self.run_starts, rows, side="right") - 1
        numbers, digits = self.path_numbers[rows].tolist(), self.path_digits[rows].tolist()
        return [
            self.run_prefixes[run] + (str(n).zfill(d) if d else "") + self.run_suffixes[run]
            for run, n, d in zip(runs.tolist(), numbers, digits, strict=True)
        ]

    def labels(self, clip: int, first: int = 0, last: int | None = None) -> np.ndarray:
        """Sorted labels (L,) int64 that occur in the frames first..last, both included.

        `last` None is the clip's last frame. Raises IndexError for frames that it does not have.
        """
        start, end = self.row_offsets[clip : clip + 2].tolist()
        last = end - start - 1 if last is None else last
        if not 0 <= first <= last < end - start:
            raise IndexError(f"clip {self.ids[clip]}: no frames {first}..{last} in {end - start}")
        rows = (start + first, start + last)
        low, high = np.searchsorted(self.run_starts, rows, side="right").tolist()
        sets = {int(s): self.label_sets[s] for s in self.run_labels[low - 1 : high]}
        return np.unique(np.concatenate(list(sets.values())))

    def targets(self, num_classes: int) -> np.ndarray:
        """(K, C) float32, 1 where a class occurs in any frame of the clip."""
        targets = np.zeros((len(self), num_classes), dtype=np.float32)
        clips = np.searchsorted(self.row_offsets, self.run_starts, side="right") - 1
        for clip, label_set in zip(clips.tolist(), self.run_labels.tolist(), strict=True):
            targets[clip, self.label_sets[label_set]] = 1
        return targets

    def class_counts(self, num_classes: int) -> np.ndarray:
        """(C,) int64: clips of each class."""
        return np.count_nonzero(self.targets(num_classes), axis=0).astype(np.int64)


def check_disjoint(train: ClipTable, val: ClipTable) -> None:
    """Raises AnnotationError when a clip is in both splits: the test would measure memory."""
    lines = dict(zip(train.ids, train.lines.tolist(), strict=True))
    shared = [clip for clip, clip_id in enumerate(val.ids) if clip_id in lines]
    if shared:
        clip_id, line = val.ids[shared[0]], val.lines[shared[0]]
        raise AnnotationError(
            f"{val.source}:{line}: clip {clip_id} is also in {train.source}:{lines[clip_id]} "
            f"({len(shared)} such clips); take each out of one of the two"
        )

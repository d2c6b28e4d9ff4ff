"""The clips of one split: ids, frame paths and labels, in a few arrays instead of a string a frame.

K clips, R rows (frames), U runs, S stretches. A run is a part of the rows of one clip with equal
labels whose paths differ in one number alone; a stretch is a part of a run in which that number
rises by one from row to row. Animal Kingdom needs one run and one stretch a clip; a clip whose
paths follow no pattern has one of each a row.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from actionrec.data.input_checks import AnnotationError
from actionrec.data.ragged import Arrays, Texts, ranges, summed


@dataclass(frozen=True, eq=False)
class ClipTable:
    """Clips in the order of their first row; frames of a clip in the order of the file.

    `sha256`: of the file `source` as it was read, 64 hex digits; that of a subset is the whole
    file's. `ids` (K,); `lines` (K,) int64: the line of each clip's first row; `notes`: one line for
    each thing that was accepted but that the user should know. The other fields are how rows are
    stored: row_offsets (K+1,) int64; stretch_starts (S,) int64 rows; stretch_numbers (S,) int64,
    the number in the path of the first row; stretch_digits (S,) uint8, how many digits it has, 0
    where the path has no number; run_starts (U,) int64 rows; run_prefixes and run_suffixes (U,);
    run_labels (U,) int32, indices into label_sets, each (L,) int64 and sorted.
    """

    source: Path
    sha256: str
    ids: Texts
    lines: np.ndarray
    notes: tuple[str, ...]
    row_offsets: np.ndarray
    stretch_starts: np.ndarray
    stretch_numbers: np.ndarray
    stretch_digits: np.ndarray
    run_starts: np.ndarray
    run_prefixes: Texts
    run_suffixes: Texts
    run_labels: np.ndarray
    label_sets: Arrays

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
        runs = (np.searchsorted(self.run_starts, rows, side="right") - 1).tolist()
        around = {run: (self.run_prefixes[run], self.run_suffixes[run]) for run in set(runs)}
        stretches = np.searchsorted(self.stretch_starts, rows, side="right") - 1
        numbers = self.stretch_numbers[stretches] + rows - self.stretch_starts[stretches]
        digits = self.stretch_digits[stretches].tolist()
        return [
            around[run][0] + (str(n).zfill(d) if d else "") + around[run][1]
            for run, n, d in zip(runs, numbers.tolist(), digits, strict=True)
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
        return np.unique(self.label_sets.take(np.unique(self.run_labels[low - 1 : high])).values)

    def targets(self, num_classes: int) -> np.ndarray:
        """(K, C) float32, 1 where a class occurs in any frame of the clip."""
        targets = np.zeros((len(self), num_classes), dtype=np.float32)
        clips = np.searchsorted(self.row_offsets, self.run_starts, side="right") - 1
        labels = self.label_sets.take(self.run_labels)
        targets[np.repeat(clips, np.diff(labels.offsets)), labels.values] = 1
        return targets

    def class_counts(self, num_classes: int) -> np.ndarray:
        """(C,) int64: clips of each class."""
        return np.count_nonzero(self.targets(num_classes), axis=0).astype(np.int64)

    def subset(self, clips: np.ndarray) -> ClipTable:
        """The table of `clips` (M,) int64 alone, in their order; without the notes."""
        start, end = self.row_offsets[clips], self.row_offsets[clips + 1]
        offsets = summed(end - start)
        # A clip begins a run and a stretch of its own.
        stretches, stretch_starts = _moved(self.stretch_starts, start, end, offsets)
        runs, run_starts = _moved(self.run_starts, start, end, offsets)
        return replace(
            self,
            ids=self.ids.take(clips),
            lines=self.lines[clips],
            notes=(),
            row_offsets=offsets,
            stretch_starts=stretch_starts,
            stretch_numbers=self.stretch_numbers[stretches],
            stretch_digits=self.stretch_digits[stretches],
            run_starts=run_starts,
            run_prefixes=self.run_prefixes.take(runs),
            run_suffixes=self.run_suffixes.take(runs),
            run_labels=self.run_labels[runs],
        )


def _moved(
    starts: np.ndarray, first_row: np.ndarray, end_row: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The parts of clips with these rows: which, and where they start once the clips do at offsets.

    starts (P,): the first row of every part.
    """
    first, end = np.searchsorted(starts, [first_row, end_row])
    parts = ranges(first, end)
    return parts, starts[parts] + np.repeat(offsets[:-1] - first_row, end - first)


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

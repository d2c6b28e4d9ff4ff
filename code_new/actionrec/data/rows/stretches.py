"""Stretches of rows, in the order of the file, to a ClipTable."""

from __future__ import annotations

from array import array
from pathlib import Path

import numpy as np

from actionrec.data.clip_table import ClipTable
from actionrec.data.input_checks import AnnotationError, check_id, check_relative_path, shown
from actionrec.data.ragged import Arrays, Texts, ranges, summed
from actionrec.data.rows.csv_rows import Stretch
from actionrec.data.rows.label_sets import LabelSets

Pattern = tuple[str, str, str, str]  # clip id, prefix and suffix of the path, labels

_MAX_DIGITS = 18  # fits into 64 bits
# One entry a stretch: its clip and run; line, frame, number and digits of its first row; rows.
_COLUMNS = {
    "clip": "i",
    "run": "i",
    "line": "q",
    "frame": "q",
    "number": "q",
    "digits": "B",
    "count": "i",
}


class Stretches:
    """The rows so far. A stretch that goes on where the one before it ended becomes one with it.

    So the table does not depend on how the reader has cut the rows into stretches.
    """

    def __init__(self, path: Path, labels: LabelSets) -> None:
        self._path, self._labels = path, labels
        self._clips: dict[str, tuple[int, int, Pattern]] = {}  # number, last run and its pattern
        self._clip_lines = array("q")
        self._prefixes: list[str] = []
        self._suffixes: list[str] = []
        self._run_labels = array("i")
        self._columns = [array(code) for code in _COLUMNS.values()]
        self._digits, self._counts = self._columns[-2:]
        # Clip, run and pattern of the last row; line, frame and number that would go on from it.
        self._last: tuple[int, int, Pattern | None] = (-1, -1, None)
        self._next = (-1, -1, -1)

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, stretch: Stretch) -> None:
        """Raises AnnotationError for labels or a frame number that cannot be right, SecurityError
        for an id or a path that could lead out of its folder."""
        line, clip_id, frame_text, prefix, number_text, suffix, labels, count = stretch
        pattern = (clip_id, prefix, suffix, labels)
        goes_on = pattern == self._last[2]
        if not goes_on:
            known = self._clips.get(clip_id)
            if known is None or known[2] != pattern:
                known = self._start_run(pattern, known, prefix + number_text + suffix, line)
            self._last = known
        if not (frame_text.isascii() and frame_text.isdecimal() and len(frame_text) <= _MAX_DIGITS):
            raise AnnotationError(
                f"{self._path}:{line}: frame number {shown(frame_text)} is not a whole number from "
                "0 up; are the columns in the order of the header?"
            )
        frame, number = int(frame_text), int(number_text or 0)
        if goes_on and (line, frame, number) == self._next and self._is_next_text(number_text):
            self._counts[-1] += count
        else:
            clip, run, _ = self._last
            values = (clip, run, line, frame, number, len(number_text), count)
            for column, value in zip(self._columns, values, strict=True):
                column.append(value)
        self._next = (line + count, frame + count, number + count)

    def _is_next_text(self, number: str) -> bool:
        """Whether a number is padded as those of the last stretch are."""
        digits = self._digits[-1]
        return len(number) == digits > 0 or (len(number) > digits > 0 and number[0] != "0")

    def _start_run(
        self, pattern: Pattern, known: tuple[int, int, Pattern] | None, frame_path: str, line: int
    ) -> tuple[int, int, Pattern]:
        """The entry of the clip in _clips, made or renewed."""
        where = f"{self._path}:{line}"
        clip_id, prefix, suffix, labels = pattern
        if known is None:
            check_id(clip_id, where)
        check_relative_path(frame_path, where)
        self._run_labels.append(self._labels.index(labels, clip_id, where))
        self._prefixes.append(prefix)
        self._suffixes.append(suffix)
        if known is None:
            self._clip_lines.append(line)
        clip = len(self._clips) if known is None else known[0]
        self._clips[clip_id] = (clip, len(self._prefixes) - 1, pattern)
        return self._clips[clip_id]

    def to_table(self, sha256: str) -> ClipTable:
        """sha256: of the file. Raises AnnotationError for a frame that a clip has twice."""
        # The rows of a clip need not be adjacent in the file.
        order = np.argsort(np.frombuffer(self._columns[0], np.int32), kind="stable")
        columns = {
            name: np.frombuffer(column, dtype=column.typecode)[order]
            for name, column in zip(_COLUMNS, self._columns, strict=True)
        }
        notes = (self._labels.note(self._path), self._check_frame_order(columns))
        starts = summed(columns["count"])
        first_of_clip = np.flatnonzero(np.diff(columns["clip"], prepend=-1))
        first_of_run = np.flatnonzero(np.diff(columns["run"], prepend=-1))
        runs = columns["run"][first_of_run]
        return ClipTable(
            source=self._path,
            sha256=sha256,
            ids=Texts.of(self._clips),
            lines=np.array(self._clip_lines, dtype=np.int64),
            notes=tuple(note for note in notes if note),
            row_offsets=np.append(starts[first_of_clip], starts[-1]),
            stretch_starts=starts[:-1],
            stretch_numbers=columns["number"],
            stretch_digits=columns["digits"],
            run_starts=starts[first_of_run],
            run_prefixes=Texts.of(self._prefixes).take(runs),
            run_suffixes=Texts.of(self._suffixes).take(runs),
            run_labels=np.frombuffer(self._run_labels, np.int32)[runs],
            label_sets=Arrays.of(list(self._labels.sets)),
        )

    def _check_frame_order(self, columns: dict[str, np.ndarray]) -> str:
        """A note on clips whose frame numbers do not rise. Raises AnnotationError for equal ones.

        columns: as in _COLUMNS, the stretches of each clip together.
        """
        clip, frame, end = columns["clip"], columns["frame"], columns["frame"] + columns["count"]
        falls = (clip[1:] == clip[:-1]) & (frame[1:] < end[:-1])
        unordered = np.unique(clip[1:][falls])
        if not len(unordered):
            return ""
        ids = list(self._clips)
        for number in unordered.tolist():
            own = slice(*np.searchsorted(clip, [number, number + 1]))
            frames = ranges(frame[own], end[own])
            values, counts = np.unique(frames, return_counts=True)
            if counts.max() > 1:
                twice = values[counts.argmax()]
                lines = ranges(columns["line"][own], columns["line"][own] + columns["count"][own])
                first, second = lines[frames == twice][:2]
                raise AnnotationError(
                    f"{self._path}:{second}: frame {twice} of clip {ids[number]} is already in "
                    f"line {first}; take one of the two rows out"
                )
        line, clip_id = self._clip_lines[unordered[0]], ids[unordered[0]]
        return (
            f"{self._path}: in {len(unordered)} clips the frame numbers do not rise from row to "
            f"row (first: line {line}, {clip_id}); frames are taken in the order of the rows"
        )

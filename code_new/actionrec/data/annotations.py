"""Charades-style CSV to ClipTable: `read_clips(path, num_classes=140)`.

The file is read as a stream, row by row; a row that continues the run before it costs no object.
"""

from __future__ import annotations

import re
from array import array
from pathlib import Path

import numpy as np

from actionrec.data.clip_table import ClipTable, check_disjoint
from actionrec.data.csv_rows import read_rows
from actionrec.data.input_checks import (
    AnnotationError,
    check_id,
    check_relative_path,
    parse_labels,
    shown,
)

__all__ = ["AnnotationError", "ClipTable", "check_disjoint", "read_clips"]

_MAX_DIGITS = 18  # fits into 64 bits
# The last number before the extension: x1/x1_t000012.mp4 is x1/x1_t, 000012, .mp4.
_NUMBERED = re.compile(r"(.*?)([0-9]{1,18})([^0-9]*(?:\.[A-Za-z0-9]+)?)")


def read_clips(path: Path, *, num_classes: int, unlabelled_frames: bool = False) -> ClipTable:
    """Read one split. Labels are 0..num_classes-1.

    unlabelled_frames: a row may have no label (`""`), as in Charades. Raises AnnotationError with
    file and line for a row that cannot be right, SecurityError for an id or a path that could lead
    out of its folder.
    """
    labels = _LabelSets(num_classes, unlabelled_frames)
    clips: dict[str, _Clip] = {}
    current, clip = None, _Clip(0)
    for line, clip_id, frame, frame_path, label_text in read_rows(path):
        if clip_id != current:
            if clip_id not in clips:
                check_id(clip_id, f"{path}:{line}")
                clips[clip_id] = _Clip(line)
            current, clip = clip_id, clips[clip_id]
        if not clip.add(frame, frame_path, label_text):
            where = f"{path}:{line}"
            check_relative_path(frame_path, where)
            label_set = labels.index(label_text, clip_id, where)
            clip.start_run(frame, frame_path, label_text, label_set, where)
    if not clips:
        raise AnnotationError(f"{path}: has a header but no rows; make or copy it again")
    notes = [labels.note(path), _check_frame_order(path, clips)]
    return _to_table(path, clips, labels, tuple(note for note in notes if note))


class _LabelSets:
    """Equal sets of labels are kept once, whatever their order and spelling."""

    def __init__(self, num_classes: int, unlabelled_frames: bool) -> None:
        self.num_classes, self.unlabelled_frames = num_classes, unlabelled_frames
        self.sets: dict[tuple[int, ...], int] = {}
        self._by_text: dict[str, int] = {}
        self._repeating: set[str] = set()
        self._repeats: dict[str, tuple[str, str]] = {}  # clip id -> place, labels

    def index(self, text: str, clip_id: str, where: str) -> int:
        if text not in self._by_text:
            labels = self._parse(text, where)
            unique = tuple(sorted(set(labels)))
            self._by_text[text] = self.sets.setdefault(unique, len(self.sets))
            if len(unique) != len(labels):
                self._repeating.add(text)
        if text in self._repeating:
            self._repeats.setdefault(clip_id, (where, text))
        return self._by_text[text]

    def _parse(self, text: str, where: str) -> list[int]:
        if text:
            return parse_labels(
                text,
                num_classes=self.num_classes,
                where=where,
                fix=f"check MODEL.NUM_CLASSES ({self.num_classes}) or the file",
            )
        if self.unlabelled_frames:
            return []
        raise AnnotationError(
            f"{where}: the row has no label; only with TRAIN.DATASET charades may a frame have none"
        )

    def note(self, path: Path) -> str:
        if not self._repeats:
            return ""
        where, text = next(iter(self._repeats.values()))
        return (
            f"{path}: {len(self._repeats)} clips repeat a label within a row (first: {where}: "
            f"{shown(text)}); it counts once"
        )


class _Clip:
    """The rows of one clip so far, and the pattern that the next one is expected to follow."""

    __slots__ = ("line", "frames", "numbers", "digits", "runs", "_prefix", "_suffix", "_labels")

    def __init__(self, line: int) -> None:
        self.line = line
        self.frames, self.numbers, self.digits = array("q"), array("q"), array("B")
        self.runs: list[tuple[int, str, str, int]] = []  # first row, prefix, suffix, label set
        self._prefix, self._suffix, self._labels = "", "", ""

    def add(self, frame: str, path: str, labels: str) -> bool:
        """False, and nothing is done, when the row does not continue the run."""
        if labels != self._labels or not path.startswith(self._prefix) or not self.runs:
            return False
        number = path[len(self._prefix) : len(path) - len(self._suffix)]
        if not (
            path.endswith(self._suffix)
            and number.isdecimal()
            and frame.isdecimal()
            and number.isascii()
            and frame.isascii()
            and len(number) <= _MAX_DIGITS
            and len(frame) <= _MAX_DIGITS
        ):
            return False
        self.frames.append(int(frame))
        self.numbers.append(int(number))
        self.digits.append(len(number))
        return True

    def start_run(self, frame: str, path: str, labels: str, label_set: int, where: str) -> None:
        if not re.fullmatch(r"[0-9]{1,18}", frame):
            raise AnnotationError(
                f"{where}: frame number {shown(frame)} is not a whole number from 0 up; "
                "are the columns in the order of the header?"
            )
        found = _NUMBERED.fullmatch(path)
        self._prefix, number, self._suffix = found.groups() if found else (path, "", "")
        self._labels = labels
        self.runs.append((len(self.frames), self._prefix, self._suffix, label_set))
        self.frames.append(int(frame))
        self.numbers.append(int(number or 0))
        self.digits.append(len(number))


def _check_frame_order(path: Path, clips: dict[str, _Clip]) -> str:
    """A note on clips whose frame numbers do not rise. Raises AnnotationError for equal ones."""
    unordered = []
    for clip_id, clip in clips.items():
        frames = np.frombuffer(clip.frames, dtype=np.int64)
        if (frames[1:] > frames[:-1]).all():
            continue
        values, counts = np.unique(frames, return_counts=True)
        if counts.max() > 1:
            frame = int(values[counts.argmax()])
            rows = (r for r in read_rows(path) if r[1] == clip_id and int(r[2]) == frame)
            first, second = next(rows)[0], next(rows)[0]
            raise AnnotationError(
                f"{path}:{second}: frame {frame} of clip {clip_id} is already in line {first}; "
                "take one of the two rows out"
            )
        unordered.append((clip.line, clip_id))
    if not unordered:
        return ""
    line, clip_id = unordered[0]
    return (
        f"{path}: in {len(unordered)} clips the frame numbers do not rise from row to row (first: "
        f"line {line}, {clip_id}); frames are taken in the order of the rows"
    )


def _to_table(
    path: Path, clips: dict[str, _Clip], labels: _LabelSets, notes: tuple[str, ...]
) -> ClipTable:
    offsets = np.cumsum([0, *(len(clip.frames) for clip in clips.values())], dtype=np.int64)
    runs = [
        (start + row, prefix, suffix, label_set)
        for start, clip in zip(offsets[:-1].tolist(), clips.values(), strict=True)
        for row, prefix, suffix, label_set in clip.runs
    ]
    starts, prefixes, suffixes, label_sets = zip(*runs, strict=True)
    numbers = np.concatenate([np.frombuffer(c.numbers, dtype=np.int64) for c in clips.values()])
    return ClipTable(
        source=path,
        ids=tuple(clips),
        lines=np.array([clip.line for clip in clips.values()], dtype=np.int64),
        notes=notes,
        row_offsets=offsets,
        path_numbers=numbers.astype(np.int32) if numbers.max() < 2**31 else numbers,
        path_digits=np.concatenate([np.frombuffer(c.digits, np.uint8) for c in clips.values()]),
        run_starts=np.array(starts, dtype=np.int64),
        run_prefixes=prefixes,
        run_suffixes=suffixes,
        run_labels=np.array(label_sets, dtype=np.int32),
        label_sets=tuple(np.array(labels_of, dtype=np.int64) for labels_of in labels.sets),
    )

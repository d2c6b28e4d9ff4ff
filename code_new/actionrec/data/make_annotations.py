"""From clips, labels and the frames at hand: train.csv, val.csv and the class table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from actionrec.atomic_file import atomic_file
from actionrec.data.class_table import write_class_table
from actionrec.data.frame_lists import FrameLister, MissingFrames
from actionrec.data.input_checks import AnnotationError
from actionrec.data.metadata import SPLITS, Metadata, MetadataClip, read_metadata
from actionrec.errors import first_few
from actionrec.progress import Progress

HEADER = "original_vido_id video_id frame_id path labels type"
FILES = {"train": "train.csv", "test": "val.csv"}
CLASS_TABLE, MISSING_LIST = "df_action.xlsx", "missing_clips.txt"
OFFICIAL = {"train": 24_004, "test": 6_096}  # clips
MAX_SHOWN = 20


@dataclass(frozen=True)
class Made:
    """What came out, by split; `class_counts` (C,) int64; a line for each missing clip or note."""

    class_counts: dict[str, np.ndarray]
    num_clips: dict[str, int]
    num_frames: dict[str, int]
    missing: tuple[str, ...]
    notes: tuple[str, ...]

    def lines(self, out: Path) -> list[str]:
        """A summary to print."""
        said = [
            f"{out / FILES[split]}: {self.num_clips[split]} clips, {self.num_frames[split]} frames"
            for split in SPLITS
        ]
        num_classes = len(self.class_counts["train"])
        said.append(f"{out / CLASS_TABLE}: {num_classes} classes, clips counted in train.csv")
        said += [f"note: {note}" for note in self.notes]
        if self.missing:
            num_listed = sum(self.num_clips.values()) + len(self.missing)
            said.append(f"{len(self.missing)} of {num_listed} clips are missing and left out:")
            said += [f"  {line}" for line in self.missing[:MAX_SHOWN]]
            said.append(f"  all of them: {out / MISSING_LIST}")
        return said


def make_annotations(
    metadata: Path,
    out: Path,
    frames: FrameLister,
    *,
    class_table: Path | None = None,
    overwrite: bool = False,
) -> Made:
    """Write the three files into `out`; clips without frames are left out and listed in a fourth.

    Raises AnnotationError when nothing could be written or a file is there already and not to be
    overwritten; then no file is changed.
    """
    check_free(out, class_table, overwrite)
    read = read_metadata(metadata, class_table)
    made = write_annotations(read, str(metadata), out, frames)
    return replace(made, notes=(*made.notes, *_remarks(read, made.class_counts)))


def write_annotations(read: Metadata, source: str, out: Path, frames: FrameLister) -> Made:
    """The same for clips, labels and classes that are known; `source` names where from."""
    missing: list[str] = []
    counts = {split: np.zeros(len(read.classes), dtype=np.int64) for split in SPLITS}
    num_clips, num_frames = dict.fromkeys(SPLITS, 0), dict.fromkeys(SPLITS, 0)
    try:
        out.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            files = {s: stack.enter_context(atomic_file(out / FILES[s])) for s in SPLITS}
            for file in files.values():
                file.write(f"{HEADER}\n".encode())
            for number, clip, rows in _list_frames(read.clips, frames, missing):
                files[clip.split].writelines(_csv_rows(number, clip, rows))
                counts[clip.split][list(clip.labels)] += 1
                num_clips[clip.split] += 1
                num_frames[clip.split] += len(rows)
            if len(missing) == len(read.clips):
                raise AnnotationError(f"no clip of {source} has frames; first: {missing[0]}")
        _write_rest(out, read, counts["train"], missing)
    except OSError as error:
        raise AnnotationError(f"--out {out}: cannot be written ({error.strerror})") from None
    return Made(counts, num_clips, num_frames, tuple(missing), read.notes)


def check_free(out: Path, class_table: Path | None, overwrite: bool) -> None:
    """Raises AnnotationError when files are there already and not to be overwritten."""
    there = [name for name in (*FILES.values(), CLASS_TABLE) if (out / name).exists()]
    if there and not overwrite:
        raise AnnotationError(
            f"--out {out}: holds {', '.join(there)} already; choose another folder, or replace "
            "them with --overwrite"
        )
    if class_table and (out / CLASS_TABLE).exists() and class_table.samefile(out / CLASS_TABLE):
        raise AnnotationError(
            f"--class-table {class_table}: is the file that would be written; choose another --out"
        )


def _list_frames(
    clips: Iterable[MetadataClip], frames: FrameLister, missing: list[str]
) -> Iterator[tuple[int, MetadataClip, list[tuple[int, str]]]]:
    clips = tuple(clips)
    for number, clip in enumerate(Progress(len(clips), "frames of", "clip").over(clips), start=1):
        try:
            rows = frames(clip.clip_id)
        except MissingFrames as reason:
            missing.append(f"{clip.clip_id} ({clip.split}): {reason}")
            continue
        yield number, clip, rows


def _csv_rows(number: int, clip: MetadataClip, rows: list[tuple[int, str]]) -> Iterator[bytes]:
    labels = ",".join(map(str, clip.labels))
    for frame, path in rows:
        yield f"{clip.clip_id} {number} {frame} {path} {labels} {clip.split}\n".encode()


def _write_rest(out: Path, read: Metadata, train_counts: np.ndarray, missing: list[str]) -> None:
    names = [c.name for c in read.classes]
    categories = [c.category for c in read.classes]
    write_class_table(out / CLASS_TABLE, names, train_counts, categories)
    if missing:
        with atomic_file(out / MISSING_LIST) as file:
            file.write("".join(f"{line}\n" for line in missing).encode())
    else:
        (out / MISSING_LIST).unlink(missing_ok=True)


def _remarks(read: Metadata, counts: dict[str, np.ndarray]) -> Iterator[str]:
    in_workbook = {split: sum(c.split == split for c in read.clips) for split in SPLITS}
    if in_workbook != OFFICIAL:
        yield (
            f"the workbook lists {in_workbook['train']} train and {in_workbook['test']} test "
            f"clips, the official one {OFFICIAL['train']} and {OFFICIAL['test']}"
        )
    for split in SPLITS:
        empty = np.flatnonzero(counts[split] == 0).tolist()
        if empty:
            num_classes = len(read.classes)
            yield f"{len(empty)} of {num_classes} classes have no {split} clip: {first_few(empty)}"

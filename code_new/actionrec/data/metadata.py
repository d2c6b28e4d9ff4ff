"""The official workbook `AR_metadata.xlsx`: which clips there are, their split, labels and classes.

Sheet `AR`: `video_id`, `type` (train or test), `labels` (text: `2,40`). Sheet `Action`: `Label`,
`Category`, `Action`. The column `list_animal_action` is never read: it disagrees with `labels`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from actionrec.data.class_table import ActionClass, read_classes, to_class
from actionrec.data.input_checks import AnnotationError, check_id, parse_labels, shown
from actionrec.data.workbook import SheetRow, read_sheet

SPLITS = ("train", "test")


@dataclass(frozen=True)
class MetadataClip:
    """One row of sheet `AR`; `labels` in the workbook's order, without repeats."""

    clip_id: str
    split: str
    labels: tuple[int, ...]


@dataclass(frozen=True)
class Metadata:
    """All clips in the workbook's order, the classes in the order of the labels, and remarks."""

    clips: tuple[MetadataClip, ...]
    classes: tuple[ActionClass, ...]
    notes: tuple[str, ...]


def read_metadata(path: Path, class_table: Path | None = None) -> Metadata:
    """Read the workbook. Names come from `class_table` where it is given, else from sheet `Action`.

    Raises AnnotationError for rows that cannot be right, SecurityError for an id that could lead
    out of a folder.
    """
    if class_table is None:
        classes, notes = _read_actions(path)
    else:
        classes, notes = read_classes(class_table), _name_conflicts(path, class_table)
    named_in = "sheet 'Action'" if class_table is None else f"--class-table {class_table}"
    rows = read_sheet(path, "AR", ["video_id", "type", "labels"])
    if not rows:
        raise AnnotationError(f"{path}: sheet 'AR' has no clips; is it the right file?")
    first: dict[str, str] = {}
    clips = []
    for row in rows:
        clip = _to_clip(row, len(classes), named_in)
        if clip.clip_id in first:
            raise AnnotationError(
                f"{row.where}: clip {clip.clip_id} is already in {first[clip.clip_id]}; "
                "take one of the two rows out"
            )
        first[clip.clip_id] = row.where
        clips.append(clip)
    return Metadata(tuple(clips), classes, tuple(notes))


def _to_clip(row: SheetRow, num_classes: int, named_in: str) -> MetadataClip:
    clip_id, split = row.text("video_id"), row.text("type")
    check_id(clip_id, row.where)
    if split not in SPLITS:
        raise AnnotationError(f"{row.where}: type {shown(split)} is neither train nor test")
    labels = row.cells["labels"]
    if not isinstance(labels, str):
        # A spreadsheet program that took 2,40 for a number has stored 240 or 2.4.
        raise AnnotationError(
            f"{row.where}: labels of {clip_id} are {shown(labels)}, not text; format the column as "
            "text and write them again (2,40)"
        )
    fix = f"correct it, or {named_in}, which names {num_classes} classes"
    parsed = parse_labels(labels, num_classes=num_classes, where=row.where, fix=fix)
    return MetadataClip(clip_id, split, tuple(dict.fromkeys(parsed)))


def _read_actions(path: Path) -> tuple[tuple[ActionClass, ...], list[str]]:
    """The classes of sheet `Action`. The one row without a label gets the one label left over."""
    by_label, without = _actions_by_label(path)
    num_classes = len(by_label) + len(without)
    free = [label for label in range(num_classes) if label not in by_label]
    if len(free) != len(without) or len(free) > 1:
        raise AnnotationError(
            f"{path}: sheet 'Action': {len(without)} rows have no label and the labels {free[:9]} "
            f"no row; name a table of the classes with --class-table"
        )
    notes = []
    for label, row in zip(free, without, strict=True):
        by_label[label] = to_class(row, "Action", "Category")
        notes.append(
            f"{row.where}: {by_label[label].name} has label {shown(row.cells['Label'])}; it got "
            f"{label}, the only label left over"
        )
    return tuple(by_label[label] for label in range(num_classes)), notes


def _actions_by_label(path: Path) -> tuple[dict[int, ActionClass], list[SheetRow]]:
    """Classes by label, and the rows whose label is empty or an error such as `#N/A`."""
    by_label: dict[int, ActionClass] = {}
    without = []
    for row in read_sheet(path, "Action", ["Label", "Action"], optional=["Category"]):
        given = row.cells["Label"]
        if given is None or str(given).startswith("#"):
            without.append(row)
            continue
        label = row.whole_number("Label")
        if label in by_label:
            raise AnnotationError(f"{row.where}: label {label} stands in a row before; mend one")
        by_label[label] = to_class(row, "Action", "Category")
    return by_label, without


def _name_conflicts(path: Path, class_table: Path) -> list[str]:
    """One line for each class that the class table and sheet `Action` name differently."""
    by_label, _ = _actions_by_label(path)
    return [
        f"class {label}: {shown(named.name)} in {class_table}, {shown(by_label[label].name)} in "
        f"sheet 'Action' of {path}; the former is written"
        for label, named in enumerate(read_classes(class_table))
        if label in by_label and by_label[label].name.casefold() != named.name.casefold()
    ]

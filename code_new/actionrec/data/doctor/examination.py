"""All checks in order: `examine(request)` reads what there is and gives the report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from actionrec.data.annotations import read_clips
from actionrec.data.doctor import splits
from actionrec.data.doctor.classes import check_classes, write_class_table
from actionrec.data.doctor.findings import Finding, Report, Severity
from actionrec.data.doctor.manifest import compare_files
from actionrec.data.doctor.pixels import Tables, check_images, check_videos
from actionrec.data.doctor.sources import ClassTable, Workbook, read_class_table, read_workbook
from actionrec.data.doctor.workbook_clips import check_against_workbook
from actionrec.errors import UserError

FILES = {"train": "train.csv", "test": "val.csv"}
CLASS_TABLE = "df_action.xlsx"
T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """What to examine. manifests: (folder, manifest) each; decode: all pixels, not headers only."""

    annot: Path
    metadata: Path | None = None
    class_table: Path | None = None  # None: df_action.xlsx in `annot`, where there is one
    num_classes: int | None = None  # None: as many as the class table or the workbook names
    unlabelled_frames: bool = False
    images: Path | None = None
    videos: Path | None = None
    decode: bool = False
    manifests: tuple[tuple[Path, Path], ...] = ()
    corrected: Path | None = None
    workers: int = 2


def examine(request: Request) -> Report:
    """Raises UserError for what keeps it from looking at all, such as a folder that is none."""
    _check_request(request)
    report, workers = Report(), request.workers
    table, book = _read_class_sources(report, request)
    num_classes = _num_classes(request, table, book)
    tables = _read_splits(report, request, num_classes)
    counts = {split: of.class_counts(num_classes) for split, of in tables.items()}
    pair = (counts["train"], counts["test"]) if len(counts) == len(FILES) else None
    report.findings += check_classes(table, book, pair)
    if book is not None:
        report.findings += check_against_workbook(book.path, book.metadata, tables)
    try:
        if tables:
            _look_at_pixels(report, request, tables)
        for folder, manifest in request.manifests:
            _attempt(report, "manifest", partial(compare_files, report, folder, manifest, workers))
        if request.corrected is not None:
            correct = partial(
                write_class_table, request.corrected, table, book, counts.get("train")
            )
            report.written += _attempt(report, "class_table_not_written", correct) or []
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}; check the disk") from None
    return report


def _check_request(request: Request) -> None:
    """Before the long work: are the folders there, and can what is to be written be written?"""
    for option, folder in (
        ("--annot", request.annot),
        ("--images", request.images),
        ("--videos", request.videos),
    ):
        if folder is not None and not folder.is_dir():
            raise UserError(f"{option} {folder}: is no folder; check the path")
    out = request.corrected
    if out is not None and out.exists():
        raise UserError(f"--write-class-table {out}: is there already; name a new file")
    for written in (out, *(manifest for _, manifest in request.manifests)):
        if written is not None and not written.parent.is_dir():
            raise UserError(f"{written}: {written.parent} is no folder; make it first")


def _attempt(report: Report, kind: str, read: Callable[[], T]) -> T | None:
    """What `read` gives; None, and an error in the report, where it raises UserError."""
    try:
        return read()
    except UserError as error:
        report.findings.append(Finding(Severity.ERROR, kind, str(error)))
        return None


def _read_class_sources(
    report: Report, request: Request
) -> tuple[ClassTable | None, Workbook | None]:
    table, book = None, None
    path = request.class_table or request.annot / CLASS_TABLE
    if request.class_table or path.exists():
        table = _attempt(
            report, "class_table", partial(read_class_table, path, request.num_classes)
        )
    if request.metadata is not None:
        book = _attempt(report, "workbook", partial(read_workbook, request.metadata))
    return table, book


def _num_classes(request: Request, table: ClassTable | None, book: Workbook | None) -> int:
    named = table.classes if table else book.metadata.classes if book else ()
    if request.num_classes or named:
        return request.num_classes or len(named)
    raise UserError(
        f"--annot {request.annot}: no readable {CLASS_TABLE} says how many classes there are; add "
        "--num-classes N"
    )


def _read_splits(report: Report, request: Request, num_classes: int) -> Tables:
    tables = {}
    for split, name in FILES.items():
        path = request.annot / name
        read = partial(
            read_clips,
            path,
            num_classes=num_classes,
            unlabelled_frames=request.unlabelled_frames,
        )
        table = _attempt(report, "annotation", read)
        if table is not None:
            tables[split] = table
            report.facts[str(path)] = splits.split_facts(table, num_classes)
            report.findings += splits.check_split(table)
    if len(tables) == len(FILES):
        train, test = tables["train"], tables["test"]
        report.findings += splits.check_disjoint(train, test)
        report.findings += splits.check_class_sizes(
            train.class_counts(num_classes), test.class_counts(num_classes)
        )
    return tables


def _look_at_pixels(report: Report, request: Request, tables: Tables) -> None:
    decode, workers = request.decode, request.workers
    if request.images:
        check_images(report, tables, request.images, decode=decode, workers=workers)
    if request.videos:
        check_videos(report, tables, request.videos, decode=decode, workers=workers)

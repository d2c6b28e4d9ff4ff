"""A Charades-style annotation, one row a frame: what training reads already, KABR's among them."""

from __future__ import annotations

from pathlib import Path

from actionrec.data.input_checks import AnnotationError
from actionrec.data.own.events.event import Event
from actionrec.data.own.events.sheet import Sheet
from actionrec.data.rows.csv_rows import SPELLINGS

_NEEDED = ("clip", "clip number", "frame", "path", "labels")


def matches(header: list[str]) -> bool:
    """Whether the header names clip, frame, path and labels, with spaces or tabs between them."""
    names = {name.strip('"') for name in " ".join(header).split()}
    return all(names & set(SPELLINGS[meaning]) for meaning in _NEEDED)


def is_frame_table(path: Path) -> bool:
    """Whether the file begins like one; it may be larger than a table of events."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            return matches([file.readline(4096)])
    except OSError:
        return False


def parse(sheet: Sheet) -> list[Event]:
    """Never events: raises AnnotationError that says what to do with the file."""
    raise AnnotationError(
        f"{sheet.path}: has one row a frame, so training reads it as it is; give train.csv and "
        "val.csv to --events alone to have them checked"
    )

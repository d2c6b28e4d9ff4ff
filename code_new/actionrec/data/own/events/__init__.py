"""What people have observed in their videos, from the programs they use, as one list of events.

FORMATS says which files are read. A new format is one file with `matches` and `parse`, and one line
here. The format of a file is told from its content; the first in the table that matches is taken.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from actionrec.data.input_checks import AnnotationError, shown
from actionrec.data.own.events import (
    boris_aggregated,
    boris_tabular,
    charades,
    elan_eaf,
    elan_text,
    event_table,
    frame_table,
    video_list,
)
from actionrec.data.own.events.event import Event
from actionrec.data.own.events.frame_table import is_frame_table
from actionrec.data.own.events.sheet import DELIMITERS, Sheet, read_text, split_rows

__all__ = ["FORMATS", "Event", "guess_format", "is_frame_table", "read_events"]


class Format(NamedTuple):
    """matches: is this row the header (or, without one, the first row)? parse: the events.

    lines_before: how many lines other than comments (`#`) may stand above the header.
    """

    matches: Callable[[list[str]], bool]
    parse: Callable[[Sheet], list[Event]]
    lines_before: int = 0


FORMATS = {
    "eaf": Format(elan_eaf.matches, elan_eaf.parse),
    "boris-aggregated": Format(boris_aggregated.matches, boris_aggregated.parse),
    "boris-tabular": Format(boris_tabular.matches, boris_tabular.parse, lines_before=200),
    "charades": Format(charades.matches, charades.parse),
    "frames": Format(frame_table.matches, frame_table.parse),
    "elan-text": Format(elan_text.matches, elan_text.parse),
    "events": Format(event_table.matches, event_table.parse),
    "list": Format(video_list.matches, video_list.parse),
}


def read_events(path: Path, name: str | None = None) -> list[Event]:
    """The events of one file. name: a key of FORMATS; None: told from the content.

    Raises AnnotationError with file and line, SecurityError for a file that is made to do harm.
    """
    name, sheet = guess_format(path, name)
    events = FORMATS[name].parse(sheet)
    if not events:
        raise AnnotationError(f"{path}: holds no events ({name}); export it again")
    return events


def guess_format(path: Path, name: str | None = None) -> tuple[str, Sheet]:
    """The format of a file, and its rows from the header on."""
    if name is not None and name not in FORMATS:
        raise AnnotationError(f"--format {shown(name)}: is unknown; known: {', '.join(FORMATS)}")
    names = list(FORMATS) if name is None else [name]
    sheets = _sheets(path)
    for candidate in names:
        for sheet in sheets:
            for index in _header_rows(sheet, FORMATS[candidate].lines_before):
                if FORMATS[candidate].matches(sheet.rows[index][1]):
                    return candidate, sheet.from_row(index)
    first = next((sheet.rows[0] for sheet in sheets if sheet.rows), (1, [""]))
    raise AnnotationError(
        f"{path}:{first[0]}: this is not the header of {name or 'any format that is read'}: "
        f"{shown(' '.join(first[1]))}; docs/own_data.md shows the columns of each, --format names "
        "one"
    )


def _header_rows(sheet: Sheet, lines_before: int) -> range:
    """The rows that may be the header."""
    rows = (fields[0].startswith("#") for _, fields in sheet.rows)
    first = sum(1 for _ in takewhile(bool, rows))
    return range(first, min(first + lines_before + 1, len(sheet.rows)))


def _sheets(path: Path) -> list[Sheet]:
    """The file, split at each of the delimiters."""
    text = read_text(path)
    if text.lstrip().startswith("<"):
        return [Sheet(path, "", ((1, [text.lstrip()[:200]]),))]
    return [split_rows(path, text, delimiter) for delimiter in DELIMITERS]

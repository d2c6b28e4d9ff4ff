"""ELAN, "Export as", "Tab-delimited text": one row an annotation, or one column a tier.

The time formats hh:mm:ss.ms, ss.msec and msec, each alone or together; with or without a header
line; also as commas or semicolons, after a spreadsheet program. The tier is the subject, the
annotation the behaviour; where an annotation is empty, its tier names the behaviour.

The video is named by the lines `#file:///...` above, else by a column `File Path`, else by the
export file itself: `fox1.txt` is of the video `fox1`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import unquote

from actionrec.data.input_checks import AnnotationError
from actionrec.data.own.events.event import Event, make_event, parse_seconds
from actionrec.data.own.events.sheet import Sheet, plain_name
from actionrec.data.own.source_videos import SUFFIXES

# In the order in which they are taken when there are several, with the seconds of one unit.
UNITS = {"ssmsec": 1.0, "hhmmssms": 1.0, "msec": 0.001}
_SHAPES = {
    "hhmmssms": re.compile(r"\d+:\d\d:\d\d[.,]\d{3}"),
    "ssmsec": re.compile(r"\d+[.,]\d{1,3}"),
    "msec": re.compile(r"\d+"),
}
_MEDIA = re.compile(r"#(?:file:/*)?(.+?)(?: -- offset: *(\d+).*)?", re.DOTALL)
_FILE = ("filepath", "filename", "file")
_SKIPPED = ("participant", "annotator", "duration", "begintime", "endtime", "lang", "tiertype")
_ID = re.compile(r"\s*\[a\d+\]$")


def matches(header: list[str]) -> bool:
    """Whether the row is such a header, or an annotation of an export without one."""
    return _named_times(header) is not None or _unnamed_times(header) is not None


def parse(sheet: Sheet) -> list[Event]:
    """One event an annotation."""
    video, media_offset_sec = _media(sheet)
    named = _named_times(sheet.header)
    rows = sheet.rows if named is None else sheet.rows[1:]
    events = []
    for line, fields in rows:
        where = f"{sheet.path}:{line}"
        times = named or _unnamed_times(fields)
        if times is None or max(times[1], times[2]) >= len(fields):
            raise AnnotationError(
                f"{where}: has no begin and end time; export it with both, or delete the row"
            )
        unit, begin, end = times
        start = parse_seconds(fields[begin], "Begin Time", where) * UNITS[unit]
        stop = parse_seconds(fields[end], "End Time", where) * UNITS[unit]
        cells = _of_columns(sheet.header, fields) if named else [(fields[0], fields[-1])]
        name = _file_of_row(sheet.header, fields) if named else ""
        for tier, value in cells:
            behaviour = _ID.sub("", value) or tier
            events.append(
                make_event(
                    video or name or sheet.path.stem,
                    start + media_offset_sec,
                    stop + media_offset_sec,
                    behaviour,
                    where,
                    tier,
                )
            )
    return events


def _media(sheet: Sheet) -> tuple[str, float]:
    """The first video named above the header, "" without one, and where it begins, in seconds."""
    for _, fields in sheet.before:
        found = _MEDIA.fullmatch(fields[0])
        if found and PurePosixPath(found[1]).suffix.lower() in SUFFIXES:
            return unquote(found[1]), int(found[2] or 0) / 1000
    return "", 0.0


def _named_times(header: list[str]) -> tuple[str, int, int] | None:
    """The time format to read and the places of begin and end."""
    names = [plain_name(name) for name in header]
    for unit in UNITS:
        begin, end = f"begintime{unit}", f"endtime{unit}"
        if begin in names and end in names:
            return unit, names.index(begin), names.index(end)
    return None


def _unnamed_times(fields: list[str]) -> tuple[str, int, int] | None:
    """The same for a row without a header: tier, participant, begin, end, [duration,] annotation.

    Each may be in several formats, side by side.
    """
    tier = fields[0].lower()
    if len(fields) < 4 or tier.endswith(tuple(SUFFIXES)) or _SHAPES["msec"].match(tier):
        return None
    for unit, shape in _SHAPES.items():
        places = [i for i, field in enumerate(fields[1:-1], start=1) if shape.fullmatch(field)]
        if len(places) >= (3 if unit == "msec" else 2):
            return unit, places[0], places[1]
    return None


def _of_columns(header: list[str], fields: list[str]) -> Iterator[tuple[str, str]]:
    """(tier, annotation) of a row below a header."""
    names = [plain_name(name) for name in header]
    others = [
        place
        for place, name in enumerate(names)
        if name not in (*_FILE, "tier", "tiername") and not name.startswith(_SKIPPED)
    ]
    tier = next((place for place, name in enumerate(names) if name in ("tier", "tiername")), None)
    if tier is not None and len(others) == 1:
        value = fields[others[0]] if others[0] < len(fields) else ""
        yield fields[tier], value
        return
    for place in others:
        if place < len(fields) and fields[place]:
            yield header[place], fields[place]


def _file_of_row(header: list[str], fields: list[str]) -> str:
    """The video that a column for the annotation file gives: fox1 for C:\\data\\fox1.eaf."""
    for place, name in enumerate(header):
        if plain_name(name) in _FILE and place < len(fields):
            return PurePosixPath(fields[place].replace("\\", "/")).name.removesuffix(".eaf")
    return ""

"""BORIS, "Export events", "Aggregated events": one row for each behaviour, from start to stop."""

from __future__ import annotations

from actionrec.data.input_checks import AnnotationError, shown
from actionrec.data.own.events.boris_media import MEDIA, refuse_several_videos, split_over_videos
from actionrec.data.own.events.event import Event, make_event, parse_seconds
from actionrec.data.own.events.sheet import Sheet, find_columns, records

COLUMNS = {
    **MEDIA,
    "kind of event": ("Behavior type", "Behaviour type"),
    "start": ("Start (s)", "Start"),
    "stop": ("Stop (s)", "Stop"),
}
KINDS = ("STATE", "POINT")


def matches(header: list[str]) -> bool:
    """Whether this is the header of such a table."""
    found = find_columns(header, COLUMNS).keys()
    return found >= {"observation", "video", "behaviour", "start", "stop"}


def parse(sheet: Sheet) -> list[Event]:
    """One event a row, or one for each video that a row runs over."""
    events: list[Event] = []
    videos: dict[str, set[str]] = {}
    for where, row in records(sheet, COLUMNS):
        refuse_several_videos(videos.setdefault(row["observation"], set()), row, where)
        kind = row.get("kind of event", "STATE").upper()
        if kind not in KINDS:
            raise AnnotationError(
                f"{where}: {shown(row['kind of event'])} is no kind of event; BORIS writes "
                f"{' or '.join(KINDS)}"
            )
        start = parse_seconds(row["start"], "Start (s)", where)
        stop = start if kind == "POINT" else parse_seconds(row["stop"], "Stop (s)", where)
        make_event("-", start, stop, row["behaviour"], where)  # refuses a stop before the start
        events += split_over_videos(row, where, start, stop)
    return events

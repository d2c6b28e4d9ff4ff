"""A plain table: video, start, stop, behaviour, and a subject if there is one; one row an event."""

from __future__ import annotations

from actionrec.data.input_checks import AnnotationError
from actionrec.data.own.events.event import Event, make_event, parse_seconds
from actionrec.data.own.events.sheet import Sheet, find_columns, records

COLUMNS = {
    "video": "video|video name|video file|file|file name|media|media file|media file name|clip"
    "|path".split("|"),
    "start": "start|start s|start sec|start seconds|start time|start time s|begin|begin s"
    "|begin time|onset|onset s|from".split("|"),
    "stop": "stop|stop s|stop sec|stop seconds|stop time|stop time s|end|end s|end sec|end time"
    "|end time s|offset|offset s|to".split("|"),
    "duration": "duration|duration s|duration sec".split("|"),
    "behaviour": "behaviour|behavior|label|action|activity|event|class".split("|"),
    "subject": "subject|animal|individual|track".split("|"),
}


def matches(header: list[str]) -> bool:
    """Whether the header names at least video, start, behaviour and one of stop and duration."""
    found = find_columns(header, COLUMNS).keys()
    return found >= {"video", "start", "behaviour"} and bool(found & {"stop", "duration"})


def parse(sheet: Sheet) -> list[Event]:
    """One event a row. A row without a stop (and duration) is a moment."""
    events = []
    for where, row in records(sheet, COLUMNS):
        start = parse_seconds(row["start"], "start", where)
        if row.get("stop"):
            stop = parse_seconds(row["stop"], "stop", where)
        elif row.get("duration"):
            stop = start + parse_seconds(row["duration"], "duration", where)
        else:
            stop = start
        subject = row.get("subject", "")
        events.append(make_event(row["video"], start, stop, row["behaviour"], where, subject))
    if not events:
        raise AnnotationError(f"{sheet.path}: has a header but no rows; export it again")
    return events

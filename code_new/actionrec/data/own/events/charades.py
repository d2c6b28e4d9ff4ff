"""Charades' own annotation: `id,...,actions,length`, actions as `c092 11.90 21.20;c147 0 12.60`."""

from __future__ import annotations

import re

from actionrec.data.input_checks import AnnotationError, shown
from actionrec.data.own.events.event import Event, make_event, parse_seconds
from actionrec.data.own.events.sheet import Sheet, find_columns, records

COLUMNS = {"video": ("id",), "actions": ("actions",), "length": ("length",)}
_ACTION = re.compile(r"(\S+) +([0-9.]+) +([0-9.]+)")


def matches(header: list[str]) -> bool:
    """Whether the header names id, actions and length."""
    return find_columns(header, COLUMNS).keys() >= COLUMNS.keys()


def parse(sheet: Sheet) -> list[Event]:
    """One event an action; those that run past the given length of the video end there."""
    events = []
    for where, row in records(sheet, COLUMNS):
        length = parse_seconds(row["length"], "length", where)
        for text in filter(None, (part.strip() for part in row["actions"].split(";"))):
            action = _ACTION.fullmatch(text)
            if not action:
                raise AnnotationError(
                    f"{where}: action {shown(text)} is not written as class, start, stop: "
                    "c092 11.90 21.20"
                )
            start = parse_seconds(action[2], "start", where)
            stop = parse_seconds(action[3], "stop", where)
            if start < length:
                events.append(make_event(row["video"], start, min(stop, length), action[1], where))
    return events

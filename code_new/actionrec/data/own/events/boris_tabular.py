"""BORIS, "Export events", "Tabular events": one row for each START, STOP and POINT.

Older versions put the observation's particulars above the header and call the kind `Status`.
"""

from __future__ import annotations

from actionrec.data.input_checks import AnnotationError, shown
from actionrec.data.own.events.boris_media import MEDIA, refuse_several_videos, split_over_videos
from actionrec.data.own.events.event import Event, parse_seconds
from actionrec.data.own.events.sheet import Sheet, find_columns, plain_name, records

COLUMNS = {
    **MEDIA,
    "kind of event": ("Behavior type", "Behaviour type", "Event type", "Status"),
    "time": ("Time", "Time (s)"),
}
_NEEDED = {"behaviour", "kind of event", "time"}
KINDS = ("START", "STOP", "POINT")

Key = tuple[str, ...]


def matches(header: list[str]) -> bool:
    """Whether this is the header of such a table."""
    return find_columns(header, COLUMNS).keys() >= _NEEDED


def parse(sheet: Sheet) -> list[Event]:
    """Pair each START with its STOP: the next of one observation, subject, behaviour, modifiers."""
    events: list[Event] = []
    open_at: dict[Key, tuple[str, float]] = {}
    videos: dict[str, set[str]] = {}
    above = _above(sheet)
    for where, row in records(sheet, {**COLUMNS, **_modifiers(sheet)}):
        row = {**above, **row}
        refuse_several_videos(videos.setdefault(row.get("observation", ""), set()), row, where)
        kind, time = row["kind of event"].upper(), parse_seconds(row["time"], "Time", where)
        key = tuple(row[c] for c in row if c in _KEY or c.startswith("modifier"))
        if kind not in KINDS:
            raise AnnotationError(
                f"{where}: {shown(row['kind of event'])} is no kind of event; BORIS writes "
                f"{', '.join(KINDS)}"
            )
        started_where, started = where, time
        if kind == "START":
            if key in open_at:
                raise AnnotationError(
                    f"{where}: {shown(row['behaviour'])} starts again, but the START in "
                    f"{open_at[key][0]} has no STOP yet; add one, in BORIS or here"
                )
            open_at[key] = where, time
            continue
        if kind == "STOP":
            if key not in open_at:
                raise AnnotationError(
                    f"{where}: {shown(row['behaviour'])} stops without a START before; add one, "
                    "or delete the row"
                )
            started_where, started = open_at.pop(key)
        events += split_over_videos(row, started_where, started, time)
    for where, _ in open_at.values():
        raise AnnotationError(
            f"{where}: this START has no STOP; add one (BORIS: Observations, Fix unpaired events)"
        )
    return events


_KEY = ("observation", "subject", "behaviour")


def _above(sheet: Sheet) -> dict[str, str]:
    """The observation's id and time offset from the lines above the header."""
    above = {plain_name(f[0]): f[1] for _, f in sheet.before if len(f) > 1}
    names = {"observationid": "observation", "timeoffsets": "offset"}
    return {column: above[name] for name, column in names.items() if name in above}


def _modifiers(sheet: Sheet) -> dict[str, list[str]]:
    return {f"modifier {n}": [n] for n in sheet.header if plain_name(n).startswith("modifier")}

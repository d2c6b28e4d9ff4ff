"""One observed behaviour: what every format of `actionrec.data.own.events` is read into."""

from __future__ import annotations

import re
from dataclasses import dataclass

from actionrec.data.input_checks import AnnotationError, shown

MAX_NAME_CHARS = 200
_SECONDS = re.compile(r"(-?)([0-9]{1,9}(?:[.,][0-9]{1,9})?)")
_CLOCK = re.compile(r"(-?)(?:([0-9]{1,3}):)?([0-9]{1,3}):([0-5]?[0-9](?:[.,][0-9]{1,9})?)")


@dataclass(frozen=True)
class Event:
    """A behaviour in a video, from start to stop in seconds; both None: in the whole video.

    `video` is the name that the file gives; start equal to stop is a moment; `where` is file and
    line, for messages.
    """

    video: str
    start_sec: float | None
    stop_sec: float | None
    behaviour: str
    where: str
    subject: str = ""


def make_event(
    video: str,
    start_sec: float | None,
    stop_sec: float | None,
    behaviour: str,
    where: str,
    subject: str = "",
) -> Event:
    """An Event after the checks that all formats share. Raises AnnotationError."""
    if not video.strip():
        raise AnnotationError(f"{where}: names no video; write its file name there")
    behaviour, subject = (" ".join(name.split()) for name in (behaviour, subject))
    if not behaviour:
        raise AnnotationError(f"{where}: names no behaviour; write one, or delete the row")
    for name in (behaviour, subject):
        if len(name) > MAX_NAME_CHARS or not name.isprintable():
            raise AnnotationError(
                f"{where}: {shown(name)} cannot be a name; use at most {MAX_NAME_CHARS} "
                "printable characters"
            )
    if start_sec is not None and stop_sec is not None and stop_sec < start_sec:
        raise AnnotationError(
            f"{where}: {shown(behaviour)} stops at {stop_sec:g} s, before it starts at "
            f"{start_sec:g} s; correct one of the two"
        )
    return Event(video.strip(), start_sec, stop_sec, behaviour, where, subject)


def parse_seconds(text: str, column: str, where: str) -> float:
    """Seconds from `12.5`, `12,5`, `00:12.5` or `0:00:12.5`.

    Raises AnnotationError, also for a time before the video begins.
    """
    text = text.strip()
    if plain := _SECONDS.fullmatch(text):
        sign, seconds = plain[1], _number(plain[2])
    elif clock := _CLOCK.fullmatch(text):
        sign = clock[1]
        seconds = 3600 * int(clock[2] or 0) + 60 * int(clock[3]) + _number(clock[4])
    else:
        raise AnnotationError(
            f"{where}: {column} is {shown(text)}, not a time; write seconds (12.5) or h:mm:ss.s"
        )
    if sign and seconds:
        raise AnnotationError(
            f"{where}: {column} is {shown(text)}, before the video begins; times count from its "
            "first frame"
        )
    return seconds


def _number(text: str) -> float:
    return float(text.replace(",", "."))

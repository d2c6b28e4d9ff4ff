"""What both BORIS exports share: which video a time belongs to, and where in it.

An observation plays one video or several, one after another. BORIS then counts time on from one
video to the next, and adds the observation's time offset to all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from actionrec.data.input_checks import AnnotationError, shown
from actionrec.data.own.events.event import Event, make_event, parse_seconds

MEDIA = {
    "observation": ("Observation id",),
    "video": ("Media file name", "Media file name(s)", "Media file", "Media file path"),
    "behaviour": ("Behavior", "Behaviour"),
    "subject": ("Subject",),
    "source": ("Source",),
    "durations": ("Media duration (s)",),
    "offset": ("Time offset (s)",),
}
NO_SUBJECT = "No focal subject"
_NO_VIDEO = {"", "na", "not found"}
_PLAYER = re.compile(r"player #\d+:\s*", re.IGNORECASE)

Queue = list[tuple[str, float]]  # the videos of an observation in their order, with their seconds


def split_over_videos(
    row: dict[str, str], where: str, start_sec: float, stop_sec: float
) -> Iterator[Event]:
    """The event, once for each video that it is seen in. start_sec, stop_sec: as BORIS counts."""
    video = row.get("video", "")
    if video.casefold() in _NO_VIDEO:
        raise AnnotationError(
            f"{where}: names no video ({shown(video)}); observations that were made live or from "
            "pictures cannot be cut: export those of videos alone"
        )
    offset = _offset(row.get("offset", ""), where)
    start_sec, stop_sec = start_sec - offset, stop_sec - offset
    if start_sec < 0:
        raise AnnotationError(
            f"{where}: {start_sec + offset:g} s is before the time offset of the observation, "
            f"{offset:g} s; correct one of the two"
        )
    subject = row.get("subject", "")
    subject = "" if subject == NO_SUBJECT else subject
    for name, start, stop in _pieces(_queue(row, where), video, start_sec, stop_sec):
        yield make_event(name, start, stop, row["behaviour"], where, subject)


def refuse_several_videos(videos: set[str], row: dict[str, str], where: str) -> None:
    """Raises AnnotationError for an observation of several videos whose lengths are not given.

    videos: those of the observation so far; the row's own is added.
    """
    if row.get("durations"):
        return
    videos.add(row.get("video", ""))
    if len(videos) > 1:
        raise AnnotationError(
            f"{where}: observation {shown(row.get('observation', ''))} plays several videos one "
            "after another, and this export does not say how long each is; export it again with "
            "BORIS 8 or later, or make one observation a video"
        )


def _offset(text: str, where: str) -> float:
    """Seconds; BORIS also writes a negative offset."""
    if text.strip().casefold() in ("", "na"):
        return 0.0
    sign = -1 if text.strip().startswith("-") else 1
    return sign * parse_seconds(text.strip().removeprefix("-"), "the time offset", where)


def _queue(row: dict[str, str], where: str) -> Queue:
    """The videos of the first player; the others run beside it. Empty where there is but one."""
    players = _PLAYER.split(row.get("source", "").split("|")[0])
    names = [name.strip() for name in players[-1].split(";") if name.strip()]
    seconds = [text for text in row.get("durations", "").split("|")[0].split(";") if text.strip()]
    if len(names) < 2:
        return []
    if len(names) != len(seconds):
        raise AnnotationError(
            f"{where}: {len(names)} videos, but {len(seconds)} durations; export it again"
        )
    return [
        (name, parse_seconds(text, "the media duration", where))
        for name, text in zip(names, seconds, strict=True)
    ]


def _pieces(
    queue: Queue, video: str, start_sec: float, stop_sec: float
) -> Iterator[tuple[str, float, float]]:
    if not queue:
        yield video, start_sec, stop_sec
        return
    begin = 0.0
    for number, (name, seconds) in enumerate(queue, start=1):
        end = begin + seconds if number < len(queue) else float("inf")
        inside = start_sec < end and stop_sec > begin
        if inside or (start_sec == stop_sec and begin <= start_sec < end):
            stop = min(stop_sec - begin, seconds) if number < len(queue) else stop_sec - begin
            yield name, max(start_sec - begin, 0.0), stop
        begin = end

"""A list of whole clips: `video,label[,label]`, with or without a header line."""

from __future__ import annotations

from actionrec.data.input_checks import AnnotationError
from actionrec.data.own.events.event import Event, make_event
from actionrec.data.own.events.sheet import Sheet, plain_name
from actionrec.data.own.source_videos import SUFFIXES

_VIDEO = {"video", "videoname", "videofile", "videoid", "file", "filename", "clip", "path"}
_LABEL = {"label", "labels", "behaviour", "behavior", "behaviours", "behaviors", "action", "class"}


def matches(header: list[str]) -> bool:
    """Whether the row is such a header, or begins with the name of a video and goes on."""
    if len(header) < 2 or not header[1]:
        return False
    return _is_header(header) or _is_video(header[0])


def parse(sheet: Sheet) -> list[Event]:
    """One event for each label of a video."""
    first = 1 if _is_header(sheet.header) else 0
    events = []
    for line, (video, *labels) in sheet.rows[first:]:
        where = f"{sheet.path}:{line}"
        labels = [label for label in labels if label]
        if not labels:
            raise AnnotationError(f"{where}: has no label; write one after the video's name")
        events += [make_event(video, None, None, label, where) for label in labels]
    if not events:
        raise AnnotationError(f"{sheet.path}: has a header but no rows; write one row a video")
    return events


def _is_header(row: list[str]) -> bool:
    return plain_name(row[0]) in _VIDEO and plain_name(row[1]).rstrip("12") in _LABEL


def _is_video(name: str) -> bool:
    return any(name.lower().endswith(suffix) for suffix in SUFFIXES)

"""Boxes of tracked animals, `video,frame,x,y,w,h,track`: one clip an animal, cropped to it.

Frames count from 0; x, y is the upper left corner, all in pixels of the upright picture. The crop
is one square a clip: around all boxes that the animal has in the clip, 20 % larger. It stands
still, because a crop that follows the animal would hide whether it walks.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import numpy as np

from actionrec.data.input_checks import AnnotationError, shown
from actionrec.data.own.events.sheet import (
    DELIMITERS,
    Sheet,
    find_columns,
    read_text,
    records,
    split_rows,
)

PADDING = 0.2
COLUMNS = {
    "video": "video|video name|file|file name|media file name".split("|"),
    "frame": ("frame", "frame number", "frame id"),
    "x": ("x", "left", "x1", "xmin"),
    "y": ("y", "top", "y1", "ymin"),
    "w": ("w", "width"),
    "h": ("h", "height"),
    "track": ("track", "track id", "subject", "animal", "individual"),
}
_NUMBER = re.compile(r"-?[0-9]{1,6}(?:\.[0-9]{1,12})?")

Box = tuple[float, float, float, float]  # left, top, right, bottom


class Track:
    """The boxes of one animal: `frames` (B,) int64, rising; `boxes` (B, 4), see Box."""

    def __init__(self, rows: list[tuple[int, Box]]) -> None:
        rows = sorted(rows)
        self.frames = np.array([frame for frame, _ in rows], dtype=np.int64)
        self.boxes = np.array([box for _, box in rows], dtype=np.float64)

    def around(self, first: int, end: int, min_overlap: float) -> Box | None:
        """What holds all boxes in the frames first..end-1; None where the animal is hardly seen.

        Hardly: from its first to its last box there it is less than min_overlap of the frames.
        """
        here = (self.frames >= first) & (self.frames < end)
        if not here.any():
            return None
        seen = self.frames[here]
        if seen[-1] - seen[0] + 1 < min_overlap * (end - first):
            return None
        boxes = self.boxes[here]
        left, top = boxes[:, :2].min(axis=0).tolist()
        right, bottom = boxes[:, 2:].max(axis=0).tolist()
        return left, top, right, bottom


def read_boxes(path: Path) -> dict[str, tuple[str, dict[str, Track]]]:
    """By video name: where it is first named, and its tracks. Raises AnnotationError."""
    rows: dict[str, dict[str, list[tuple[int, Box]]]] = defaultdict(lambda: defaultdict(list))
    places: dict[str, str] = {}
    for where, row in records(_sheet(path), COLUMNS):
        frame = _number(row, "frame", where)
        left, top, width, height = (_number(row, column, where) for column in "xywh")
        if frame < 0 or frame != int(frame):
            raise AnnotationError(f"{where}: frame {row['frame']} is no whole number from 0 up")
        if width <= 0 or height <= 0:
            raise AnnotationError(f"{where}: the box is {width:g} x {height:g} px; delete the row")
        video, track = row["video"], row["track"]
        if not video or not track or not track.isprintable():
            raise AnnotationError(f"{where}: names no video or no track; write both")
        places.setdefault(video, where)
        rows[video][track].append((int(frame), (left, top, left + width, top + height)))
    if not rows:
        raise AnnotationError(f"{path}: has a header but no boxes; export it again")
    return {
        video: (places[video], {track: Track(boxes) for track, boxes in tracks.items()})
        for video, tracks in rows.items()
    }


def square_crop(box: Box, width: int, height: int) -> tuple[int, int, int, int]:
    """The padded square around `box` inside a picture, as left, top, right, bottom in whole pixels.

    It is moved into the picture; where the picture is too small for it, it is cut off.
    """
    left, top, right, bottom = box
    side = round((1 + PADDING) * max(right - left, bottom - top))
    spans = []
    for centre, size in (((left + right) / 2, width), ((top + bottom) / 2, height)):
        length = max(2, min(side, size))
        begin = min(max(round(centre - length / 2), 0), size - length)
        spans.append((begin, begin + length))
    return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


def _sheet(path: Path) -> Sheet:
    text = read_text(path)
    for delimiter in DELIMITERS:
        sheet = split_rows(path, text, delimiter)
        if sheet.rows and find_columns(sheet.header, COLUMNS).keys() == COLUMNS.keys():
            return sheet
    raise AnnotationError(f"{path}:1: the header must name {', '.join(COLUMNS)}")


def _number(row: dict[str, str], column: str, where: str) -> float:
    if not _NUMBER.fullmatch(row[column]):
        raise AnnotationError(f"{where}: {column} is {shown(row[column])}, not a number of pixels")
    return float(row[column])

"""The header of a Charades-style CSV: columns by name, so their order does not matter.

Three spellings of the header are in use, and a column `type` may follow.
"""

from __future__ import annotations

from dataclasses import dataclass

from actionrec.data.input_checks import AnnotationError, shown

SPELLINGS = {
    "clip": ("original_vido_id", "original_video_id", "clip_id"),
    "clip number": ("video_id", "clip_number"),
    "frame": ("frame_id", "frame_number"),
    "path": ("path", "clip_path"),
    "labels": ("labels", "action_labels"),
    "type": ("type",),
}
_EXPECTED = "original_vido_id video_id frame_id path labels [type]"
_MEANING = {name: meaning for meaning, names in SPELLINGS.items() for name in names}
_UTF16_MARKS = ("\udcff\udcfe", "\udcfe\udcff")  # its byte order marks, so decoded


@dataclass(frozen=True)
class Columns:
    """Where clip, frame, path and labels stand in a row of `count` fields."""

    count: int
    clip: int
    frame: int
    path: int
    labels: int


def read_header(line: str, where: str) -> Columns:
    """The columns that `line` names. Raises AnnotationError; `where` is its place in the file."""
    names = [name.strip('"') for name in line.split()]
    place = {_MEANING[name]: i for i, name in enumerate(names) if name in _MEANING}
    missing = [SPELLINGS[m][0] for m in SPELLINGS if m not in place and m != "type"]
    if missing or len(place) != len(names):
        refuse_spreadsheet(line, where)
        odd = [
            shown(name) for i, name in enumerate(names) if place.get(_MEANING.get(name, "")) != i
        ]
        problem = [f"lacks {' '.join(missing)}"] if missing else []
        problem += [f"has unknown or repeated {' '.join(odd[:5])}"] if odd else []
        raise AnnotationError(
            f"{where}: the header {' and '.join(problem)}; it must name the columns, with "
            f"spaces between: {_EXPECTED}"
        )
    return Columns(len(names), place["clip"], place["frame"], place["path"], place["labels"])


def refuse_spreadsheet(line: str, where: str) -> None:
    """Raise AnnotationError where a line that is not as it should be is as those programs write."""
    text = line.strip()
    sign = ""
    if text.startswith(_UTF16_MARKS):
        sign = "it is UTF-16"
    elif text.startswith("PK\3\4"):
        sign = "it is a workbook"
    elif text[:1] == '"' == text[-1:] and " " in text[1:].partition('"')[0]:
        sign = "the whole line is in quotes"
    for mark, name in ((",", "commas"), (";", "semicolons")):
        if len(_MEANING.keys() & set(text.replace('"', "").split(mark))) > 1:
            sign = f"{name} between the fields"
    if sign:
        raise AnnotationError(
            f"{where}: looks saved by a spreadsheet program: {sign}; make or copy it again as "
            "UTF-8 text with single spaces between the fields, see annotations/README.md"
        )

"""The column `list_animal_action` of the official workbook: which actions each clip's text names.

It is written as a Python literal, `[('Snake', 'Moving')]`, some of whose elements are strings with
a literal of their own. It is searched as text and never parsed: nothing in it can run or grow.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from actionrec.data.doctor.findings import Finding, Severity
from actionrec.data.workbook import read_sheet

MAX_TEXT_CHARS = 32_767  # of a cell, in any spreadsheet program
# The second of two strings in brackets. Names of actions hold no quotes, those of animals do.
_ACTION = re.compile(r", {0,3}['\"]([^'\"]{1,80})['\"] {0,3}\)")
_INNER_LITERAL = re.compile(r"['\"]\[\(")


@dataclass(frozen=True)
class ClipText:
    """The actions that the text names, normalised; its elements with a literal of their own."""

    actions: frozenset[str]
    num_inner: int


def normalised(name: str) -> str:
    """`name` for comparisons: neither case nor spacing tells two actions apart."""
    return " ".join(name.split()).casefold()


def read_clip_texts(path: Path) -> dict[str, ClipText]:
    """Texts by clip id, of the clips that have one. Raises AnnotationError for a broken sheet."""
    rows = read_sheet(path, "AR", ["video_id"], optional=["list_animal_action"])
    texts = ((str(row.cells["video_id"]), row.cells.get("list_animal_action")) for row in rows)
    return {clip_id: named_in(text) for clip_id, text in texts if isinstance(text, str) and text}


def named_in(text: str) -> ClipText:
    """What a text names; only its first MAX_TEXT_CHARS characters are looked at."""
    text = text[:MAX_TEXT_CHARS]
    found = _ACTION.findall(text.replace("\\", ""))
    return ClipText(frozenset(map(normalised, found)), len(_INNER_LITERAL.findall(text)))


def check_texts(
    path: Path, texts: dict[str, ClipText], labels: dict[str, tuple[int, ...]]
) -> Iterator[Finding]:
    """Why the texts cannot take the place of the column `labels`. labels: by clip id."""
    texts = {clip_id: text for clip_id, text in texts.items() if clip_id in labels}
    inner = {clip_id: text.num_inner for clip_id, text in texts.items() if text.num_inner}
    if inner:
        yield Finding(
            Severity.NOTE,
            "texts_in_texts",
            f"{path}: column 'list_animal_action' has {sum(inner.values()):,} elements in "
            f"{len(inner):,} clips that are strings with a literal of their own",
            len(inner),
            tuple(inner),
            "read 'labels' instead, and never eval such a column",
        )
    other = [c for c, t in texts.items() if len(t.actions) != len(labels[c])]
    if other:
        plain = sum(clip_id not in inner for clip_id in other)
        yield Finding(
            Severity.NOTE,
            "texts_of_other_number",
            f"{path}: in {len(other):,} clips 'list_animal_action' names another number of actions "
            f"than there are labels ({plain:,} without the clips that hold strings in strings)",
            len(other),
            tuple(other),
            "'labels' are what is trained and tested",
        )

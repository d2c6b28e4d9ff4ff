"""What every input from outside must pass: regular file, size, clip ids, paths, labels.

`where` is the place that a message names, such as `train.csv:12`.
"""

from __future__ import annotations

import re
import stat
from pathlib import Path

from actionrec.errors import SecurityError, UserError

MAX_PATH_CHARS = 1024
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_DRIVE = re.compile(r"[A-Za-z]:")
_WHOLE_NUMBER = re.compile(r"-?[0-9]+")


class AnnotationError(UserError):
    """An annotation file or a class table that cannot be used as it is."""


def shown(value: object) -> str:
    """`value` as it may stand in a message or a log: escaped, at most 60 characters of it."""
    text = str(value)
    return repr(text if len(text) <= 60 else text[:57] + "...")


def check_regular_file(path: Path, *, max_bytes: int) -> None:
    """Raises AnnotationError unless `path` is a regular file of 1 to `max_bytes` bytes."""
    try:
        status = path.stat()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AnnotationError(f"{path}: cannot be read ({reason}); check the path") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
        raise AnnotationError(f"{path}: is {kind}; name the annotation file itself")
    if status.st_size == 0:
        raise AnnotationError(f"{path}: is empty; make or copy it again")
    if status.st_size > max_bytes:
        raise AnnotationError(
            f"{path}: has {status.st_size:,} bytes, more than the {max_bytes:,} that are read; "
            "is it the right file?"
        )


def check_id(clip_id: str, where: str) -> None:
    """Raises SecurityError for an id that could lead out of the folder that it names files in."""
    if not _ID.fullmatch(clip_id) or ".." in clip_id:
        raise SecurityError(
            f"{where}: clip id {shown(clip_id)} is refused: ids name files, so they are 1 to 128 "
            "letters, digits, '_', '.', '-', begin with a letter or digit, and have no '..'"
        )


def check_relative_path(path: str, where: str, *, root: str = "DATA.PATH_PREFIX") -> None:
    """Raises SecurityError for a path that could lead out of the folder that it is relative to.

    root: the key or option that names that folder.
    """
    leaves = path.startswith(("/", "~")) or ".." in path.split("/") or _DRIVE.match(path)
    if leaves or "\\" in path or not path.isprintable() or not 0 < len(path) <= MAX_PATH_CHARS:
        raise SecurityError(
            f"{where}: frame path {shown(path)} is refused: it must be relative to {root}, "
            "with '/' between folders, and stay below it ('..', '~', '\\' and a leading '/' are "
            "not allowed)"
        )


def parse_labels(text: str, *, num_classes: int, where: str, fix: str) -> list[int]:
    """The labels of `2,40` in their order, repeats included. Raises AnnotationError.

    fix: what to do about a label outside 0..num_classes-1.
    """
    labels = []
    for label in text.split(","):
        label = label.strip(" ")
        if not _WHOLE_NUMBER.fullmatch(label):
            raise AnnotationError(
                f"{where}: label {shown(label)} is not a whole number; labels are 0 to "
                f"{num_classes - 1}, with commas between them: 2,40"
            )
        if label.startswith("-") or len(label) > 9 or int(label) >= num_classes:
            raise AnnotationError(
                f"{where}: label {label[:30]} is outside 0..{num_classes - 1}; {fix}"
            )
        labels.append(int(label))
    return labels

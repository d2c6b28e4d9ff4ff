"""Plain lists that a user writes, one name a line: classes in their order, videos of a split."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from actionrec.data.input_checks import AnnotationError, shown
from actionrec.data.own.events.sheet import read_text


def read_names(path: Path) -> list[tuple[str, str]]:
    """(`file:line`, name) of each line that is neither blank nor a comment (`#`).

    Raises AnnotationError for a name that stands there twice, and for a file without any.
    """
    names = list(_lines(path))
    first: dict[str, str] = {}
    for where, name in names:
        if name in first:
            raise AnnotationError(f"{where}: {shown(name)} is already in {first[name]}")
        first[name] = where
    if not names:
        raise AnnotationError(f"{path}: names nothing; write one name a line")
    return names


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        name = " ".join(line.split())
        if name and not name.startswith("#"):
            if not name.isprintable():
                raise AnnotationError(f"{path}:{number}: {shown(name)} holds control characters")
            yield f"{path}:{number}", name

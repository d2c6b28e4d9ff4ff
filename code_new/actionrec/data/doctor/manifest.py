"""A checksum for each file below a folder: only this finds a file that changed but still decodes.

The manifest is text, `<sha256>  <path>` a line as sha256sum writes it, sorted by path, folder by
folder. Both it and the folder are read in that order, side by side, so neither lies in memory.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from actionrec.atomic_file import atomic_file
from actionrec.data.doctor.findings import Finding, Report, Severity
from actionrec.data.doctor.folders import list_all
from actionrec.data.doctor.in_parallel import in_parallel
from actionrec.data.input_checks import check_regular_file, shown
from actionrec.errors import UserError
from actionrec.progress import Progress

_LINE = re.compile(rb"([0-9a-f]{64})  ([^\n\r]{1,4096})\r?\n?")
_MAX_LINE_BYTES = 5000
_MAX_BYTES = 4 * 2**30
_UNREADABLE = ""

Entry = tuple[str, str]  # path relative to the folder, sha256 or _UNREADABLE


@dataclass
class Differences:
    """Paths by what happened to them since the manifest was written."""

    num_same: int = 0
    by_kind: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, path: str) -> None:
        """kind: a key of _KINDS."""
        self.by_kind.setdefault(kind, []).append(shown(path))


_KINDS = {
    "changed": (Severity.WARNING, "have other bytes than when the manifest was written"),
    "gone": (Severity.WARNING, "are in the manifest and not there any more"),
    "unreadable": (
        Severity.WARNING,
        "cannot be read, are links, or have odd names",
    ),
    "new": (Severity.NOTE, "are not in the manifest"),
}
_FIX = "copy them again; where the change was meant, delete the manifest and write it again"


def compare_files(report: Report, root: Path, manifest: Path, workers: int) -> None:
    """Hash all files below `root`: compare them with `manifest`, or write it if it is not there.

    Raises UserError for a manifest that is not sorted or not text of this form, OSError.
    """
    if manifest.resolve().is_relative_to(root.resolve()):
        raise UserError(
            f"--manifest {manifest}: lies in {root}, whose files it is to hold: move it"
        )
    if manifest.exists():
        differences = _compare(root, manifest, workers)
        report.facts[str(manifest)] = {"files as they were": differences.num_same}
    else:
        differences = _write(root, manifest, workers)
        report.written.append(f"{manifest}: written, {differences.num_same:,} files")
    for kind, (severity, what) in _KINDS.items():
        paths = differences.by_kind.get(kind)
        if paths:
            what = f"{root}: {len(paths):,} files {what}"
            finding = Finding(severity, f"manifest_{kind}", what, len(paths), tuple(paths), _FIX)
            report.findings.append(finding)


def _write(root: Path, manifest: Path, workers: int) -> Differences:
    differences = Differences()
    with atomic_file(manifest) as file:
        for path, digest in _hash_all(root, workers):
            if digest == _UNREADABLE:
                differences.add("unreadable", path)
                continue
            file.write(f"{digest}  ".encode() + os.fsencode(path) + b"\n")
            differences.num_same += 1
    return differences


def _compare(root: Path, manifest: Path, workers: int) -> Differences:
    differences = Differences()
    for kept, found in _side_by_side(_read(manifest), _hash_all(root, workers)):
        if kept and found and kept == found:
            differences.num_same += 1
        elif found and found[1] == _UNREADABLE:
            differences.add("unreadable", found[0])
        elif kept and found:
            differences.add("changed", found[0])
        elif kept:
            differences.add("gone", kept[0])
        elif found:
            differences.add("new", found[0])
    return differences


def _order(path: str) -> list[str]:
    return path.split("/")


def _side_by_side(
    kept: Iterator[Entry], found: Iterator[Entry]
) -> Iterator[tuple[Entry | None, Entry | None]]:
    """Pairs of equal path, None where one of the two lacks it. Both in rising order."""
    one, other = next(kept, None), next(found, None)
    while one or other:
        if other is None or (one is not None and _order(one[0]) < _order(other[0])):
            yield one, None
            one = next(kept, None)
        elif one is None or _order(other[0]) < _order(one[0]):
            yield None, other
            other = next(found, None)
        else:
            yield one, other
            one, other = next(kept, None), next(found, None)


def _read(manifest: Path) -> Iterator[Entry]:
    check_regular_file(manifest, max_bytes=_MAX_BYTES)
    last: list[str] = []
    with manifest.open("rb") as file:
        lines = iter(lambda: file.readline(_MAX_LINE_BYTES), b"")
        for number, line in enumerate(lines, start=1):
            match = _LINE.fullmatch(line)
            path = os.fsdecode(match[2]) if match else ""
            if match is None or _order(path) <= last:
                problem = "is not in the order of the paths" if match else "is not `<sha256>  path`"
                raise UserError(f"{manifest}:{number}: {problem}; delete the file, make it again")
            last = _order(path)
            yield path, match[1].decode()


def _hash_all(root: Path, workers: int) -> Iterator[Entry]:
    names = sorted(list_all(root))
    progress = Progress(len(names), f"sha256 of {root}", "entry")
    for entries in progress.over(in_parallel(lambda n: _hash_below(root, n), names, workers)):
        yield from entries


def _hash_below(root: Path, name: str) -> list[Entry]:
    """The file `name`, or all files below the folder `name`, in order. Links are not followed."""
    place = root / name
    if place.is_symlink() or not place.is_dir():
        return [(name, _hash_file(place))]
    try:
        below = sorted(list_all(place))
    except OSError:
        return [(name, _UNREADABLE)]
    return [entry for n in below for entry in _hash_below(root, f"{name}/{n}")]


def _hash_file(path: Path) -> str:
    if path.is_symlink() or not path.is_file() or not path.name.isprintable():
        return _UNREADABLE
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return _UNREADABLE

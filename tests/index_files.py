"""A small annotation that is kept as a large one would be, for the tests of its index."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from actionrec.data import annotations
from actionrec.data.annotations import ClipTable, read_clips
from actionrec.data.rows import index_cache

HEADER = "original_vido_id video_id frame_id path labels"
ROWS = [f"{c} 1 {n} {c}/{c}_t{n:06d}.jpg {n % 3},{n % 3}" for c in "AB" for n in range(9)]


@pytest.fixture
def csv(tmp_path, monkeypatch) -> Path:
    """A small annotation that is kept as a large one would be, and is old enough for it."""
    monkeypatch.setattr(index_cache, "_MIN_BYTES", 0)
    monkeypatch.setattr(index_cache, "_TICK_NS", 0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "annotations"
    folder.mkdir()
    return write(folder / "train.csv", ROWS)


def write(path: Path, rows: list[str]) -> Path:
    path.write_text("\n".join([HEADER, *rows, ""]))
    time.sleep(0.02)  # longer than a tick of the clock that files are stamped with
    return path


def index_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.index")


def read(path: Path, num_classes: int = 5, **options) -> ClipTable:
    return read_clips(path, num_classes=num_classes, **options)


@pytest.fixture
def reads(monkeypatch) -> list[Path]:
    """The files that were really read, one entry each time."""
    found: list[Path] = []

    def spy(path: Path, *args):
        found.append(path)
        return original(path, *args)

    original = annotations.read_stretches
    monkeypatch.setattr(annotations, "read_stretches", spy)
    return found


@pytest.fixture
def read_only(csv, monkeypatch) -> Path:
    """The annotation in a folder that cannot be written: chmod means nothing to root."""
    original = index_cache.atomic_file

    def refuses(path: Path):
        if path.parent == csv.parent:
            raise PermissionError(13, "Permission denied")
        return original(path)

    monkeypatch.setattr(index_cache, "atomic_file", refuses)
    return csv

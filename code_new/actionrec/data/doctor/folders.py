"""What lies in folders, less what file managers leave there."""

from __future__ import annotations

import os
from pathlib import Path

_LEFT_BY_PROGRAMS = frozenset({".ds_store", "thumbs.db", "desktop.ini"})


def is_left_by_programs(name: str) -> bool:
    """Whether a file manager wrote it: .DS_Store, ._* (macOS), Thumbs.db, desktop.ini (Windows)."""
    return name.lower() in _LEFT_BY_PROGRAMS or name.startswith("._")


def list_files(folder: Path) -> frozenset[str]:
    """Names in `folder` of all but folders; one that is not there has none. Raises OSError."""
    try:
        with os.scandir(folder) as entries:
            # A link counts as a file: whether it leads to one is asked when it is opened.
            files = (e.name for e in entries if not e.is_dir(follow_symlinks=False))
            return frozenset(name for name in files if not is_left_by_programs(name))
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()


def list_all(folder: Path) -> frozenset[str]:
    """Names in `folder`, of files and folders. Raises OSError."""
    with os.scandir(folder) as entries:
        return frozenset(entry.name for entry in entries if not is_left_by_programs(entry.name))

"""Where the pixels of a clip come from, and whether they are all there before anything is built."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from actionrec.data.clip_table import ClipTable
from actionrec.data.images import ImageFolders
from actionrec.data.reading import PerFrame, printable, retried
from actionrec.data.video import VideoFiles
from actionrec.errors import UserError
from actionrec.progress import Progress
from actionrec.types import DataSettings

Kind = type[ImageFolders] | type[VideoFiles]

logger = logging.getLogger(__name__)


class FrameSource(Protocol):
    """Gives the frames of a clip of one table. `key` is the configuration key that named `root`."""

    key: str
    root: Path

    def files(self, clip: int) -> list[str]:
        """All files of the clip, relative to `root`."""

    def read(self, clip: int, frame_indices: np.ndarray, each: PerFrame = ...) -> np.ndarray:
        """The frames in the order asked: (F, H, W, 3) uint8 RGB, each after `each`."""


def open_source(table: ClipTable, settings: DataSettings) -> FrameSource:
    """The source that DATA.SOURCE names; `auto` takes frames where the first one is, else video.

    Raises UserError when the folder it needs is not set, or when `auto` finds neither.
    """
    kinds: dict[str, tuple[Kind, Path | None]] = {
        "frames": (ImageFolders, settings.frame_root),
        "video": (VideoFiles, settings.video_root),
    }
    if settings.source == "auto":
        return _first_present(list(kinds.values()), table)
    if settings.source not in kinds:
        raise UserError(f"DATA.SOURCE: {settings.source!r} is not one of frames, video, auto")
    kind, root = kinds[settings.source]
    if root is None:
        raise UserError(
            f"DATA.SOURCE is {settings.source} but {kind.key} is not set; set it to their folder"
        )
    return kind(table, root.resolve())


def find_missing(table: ClipTable, source: FrameSource) -> list[str]:
    """One entry for each clip that lacks files, in the table's order.

    Lists each folder once instead of asking for each file. An entry reads
    `AAACXZTV (AAACXZTV/AAACXZTV_t000012.jpg)`, with how many more are absent where there are more.
    """

    @lru_cache(maxsize=8)
    def names_in(folder: str) -> frozenset[str]:
        return retried(lambda: _list_folder(source.root / folder))

    found: list[str] = []
    # A folder a clip: on a network disk this can take minutes.
    ids = Progress(len(table.ids), f"files of {table.source}", "clip").over(table.ids)
    for clip, clip_id in enumerate(ids):
        files = source.files(clip)
        try:
            absent = [f for f in files if not _is_listed(f, names_in)]
        except OSError as error:
            raise UserError(
                f"clip {clip_id}: cannot list {printable(error.filename)} ({error.strerror}); "
                f"check {source.key}"
            ) from None
        if absent:
            more = f" and {len(absent) - 1} more of {len(files)} files" if len(absent) > 1 else ""
            found.append(f"{clip_id} ({absent[0]}{more})")
    return found


def require_files(
    table: ClipTable, source: FrameSource, max_fraction: float = 0.0, shown: int = 3
) -> None:
    """Say how many clips lack files, and name the first `shown`.

    Raises that as a UserError where it is more than `max_fraction` of the clips.
    """
    missing = find_missing(table, source)
    if not missing:
        return
    more = ", ..." if len(missing) > shown else ""
    message = (
        f"{len(missing)} of {len(table.ids)} clips of {table.source} lack files: "
        f"{', '.join(missing[:shown])}{more}; {source.key} is {printable(source.root)}"
    )
    if len(missing) > max_fraction * len(table.ids):
        raise UserError(message)
    logger.warning("%s", message)


def _first_present(kinds: list[tuple[Kind, Path | None]], table: ClipTable) -> FrameSource:
    tried = []
    for kind, root in kinds:
        if root is None:
            tried.append(f"{kind.key} is not set")
            continue
        source = kind(table, root.resolve())
        first = source.root / source.files(0)[0]
        try:
            if first.exists():
                return source
        except OSError as error:
            raise UserError(
                f"clip {table.ids[0]}: cannot reach {printable(first)} ({error.strerror}); "
                f"check {kind.key}"
            ) from None
        tried.append(f"{printable(first)} is not there ({kind.key})")
    raise UserError(
        f"no pixels for clip {table.ids[0]} of {table.source}: {'; '.join(tried)}; "
        "set one of the two to the folder that holds the frames or the videos"
    )


def _is_listed(file: str, names_in: Callable[[str], frozenset[str]]) -> bool:
    folder, _, name = file.rpartition("/")
    return name in names_in(folder)


def _list_folder(folder: Path) -> frozenset[str]:
    """Names of the files in `folder`; a folder that is not there has none. Raises OSError."""
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()

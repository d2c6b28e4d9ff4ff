"""What a large annotation said, kept for the next start: `.train.csv.index` beside it.

Where that folder cannot be written, the index is in the user's cache folder. It is used while size,
times and inode of the annotation are those of the moment it was read; the time of the last change
(ctime) shows new content even where size and mtime were set back. Where times or inode are others,
as those of a copy are, the sha256 of the content decides, and the index takes on the new ones.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

from actionrec.atomic_file import atomic_file
from actionrec.data.clip_table import ClipTable
from actionrec.data.rows.index_file import read_key, read_table, write_table

logger = logging.getLogger(__name__)

_MIN_BYTES = 2**22  # smaller annotations are read in about the time that an index takes
# Two changes within this time can leave the same ctime: some file systems count in 2 s.
_TICK_NS = 2 * 10**9

Key = tuple[int, ...]


def cached_table(
    path: Path, read: Callable[[], ClipTable], *, num_classes: int, unlabelled_frames: bool
) -> ClipTable:
    """The table of `path` from its index where that is fresh, else what `read` returns, kept.

    An index that cannot be read or written costs time and nothing else. The options are part of
    what an index must agree with. Raises what `read` raises, and then keeps nothing.
    """
    options = (num_classes, int(unlabelled_frames))
    started = time.time_ns()
    state = _state(path)
    if state is None:
        return read()
    key = state + options
    places = _places(path)
    # An index that needs no hash goes before one that does.
    tries = (_load(p, path, key, by_content=b) for b in (False, True) for p in places)
    table, kept_key = next(filter(None, tries), (None, None))
    if table is None:
        table = read()
    _, _, changed, _ = state
    if kept_key != key and _state(path) == state and started - changed > _TICK_NS:
        _keep(places, table, key)
    return table


def _state(path: Path) -> Key | None:
    """Size, mtime, ctime and inode of a file that is worth an index, None of any other."""
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode) or status.st_size < _MIN_BYTES:
        return None
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def _places(path: Path) -> list[Path]:
    """Where the index may be: beside the annotation, else in the user's cache folder."""
    places = [path.with_name(f".{path.name}.index")]
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()
    except (OSError, RuntimeError):  # no home is known, or a loop of links
        return places
    if root.is_absolute():
        places.append(root / "actionrec" / f"{name}.index")
    return places


def _load(place: Path, path: Path, key: Key, *, by_content: bool) -> tuple[ClipTable, Key] | None:
    """The table of an index that is fresh, and the key that stands in it.

    by_content: it may have the times or the inode of another file of the same content.
    """
    size, num_classes = key[0], key[-2]
    try:
        status = place.stat()
        # The texts of an index all stand in the annotation, at most 40 bytes of numbers to a row.
        if not stat.S_ISREG(status.st_mode) or status.st_size > 4 * size + _MIN_BYTES:
            raise ValueError("it is no file of a likely size")
        data = place.read_bytes()
        kept = read_key(data)
        if (kept[0], *kept[-2:]) != (size, *key[-2:]):
            raise ValueError("the file has changed")
        table = read_table(data, path, num_classes)
        if kept != key and not (by_content and _sha256(path) == table.sha256):
            raise ValueError("the file has changed")
        return table, kept
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        if by_content:
            logger.info("%s is not used: %s; reading %s instead", place, error, path)
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(places: list[Path], table: ClipTable, key: Key) -> None:
    for place in places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(place) as file:
                write_table(file, table, key)
        except OSError as error:
            logger.info("%s is not written: %s", place, error.strerror)
        else:
            return

"""What image folders and videos share: safe files, and the stacking of decoded frames."""

from __future__ import annotations

import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import numpy as np

from actionrec.errors import SecurityError, UserError

T = TypeVar("T")
PerFrame = Callable[[np.ndarray], np.ndarray]
Room = Callable[[int, int], np.ndarray]

# What a disk or a network file system says in passing; any other error stays as it is.
_PASSING = {errno.EIO, errno.ESTALE}
WAITS_SEC = (0.1, 0.5)


def unchanged(frame: np.ndarray) -> np.ndarray:
    """The frame itself: what `each` is where nothing is to be done."""
    return frame


def retried(read: Callable[[], T]) -> T:
    """What `read` gives: up to three tries where the file system fails in a way that may pass."""
    for wait_sec in WAITS_SEC:
        try:
            return read()
        except OSError as error:
            if error.errno not in _PASSING:
                raise
        time.sleep(wait_sec)
    return read()


def regular_file(root: Path, relative: str, clip_id: str, key: str) -> Path:
    """The resolved path of `relative` below `root` (itself resolved).

    Raises UserError when it is missing, loops or is no regular file, SecurityError when it or a
    link on the way leaves `root`; both name the clip and `key`, the configuration key that gave
    `root`.
    """
    place = root / relative
    shown = printable(place)
    try:
        path, mode = retried(lambda: _look_up(place))
    except OSError as error:
        raise UserError(
            f"clip {clip_id}: cannot open {shown} ({error.strerror}); check {key}"
        ) from None
    if not path.is_relative_to(root):
        raise SecurityError(
            f"clip {clip_id}: {shown} leads to {str(path)!r}, outside {printable(root)}; "
            f"put the file itself there, or set {key} to the folder that holds it"
        )
    if not stat.S_ISREG(mode):
        raise UserError(f"clip {clip_id}: {shown} is not a regular file; put the real file there")
    return path


def open_file(path: Path) -> int:
    """A descriptor of what `regular_file` gave, open for reading. Raises OSError.

    If a pipe has taken its place since, this does not wait for its other end.
    """
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)


def printable(path: Path | str) -> str:
    """The path as it may stand in a message: escaped where it is not plain text of one line."""
    text = str(path)
    return text if text.isprintable() else repr(text)


def gather(
    frame_indices: np.ndarray,
    decode: Callable[[np.ndarray, Room], Iterator[tuple[str, np.ndarray]]],
    each: PerFrame,
) -> np.ndarray:
    """Decode each distinct index once and return the frames in the order asked: (F, H, W, 3).

    `decode` gets the distinct indices in rising order and yields (name, frame) for each; it may put
    a frame of height H and width W into room(H, W). `each` is applied to a frame before it is
    stored, so that a scaled clip never lies in memory at full size; its type is the result's.
    Raises UserError naming both frames when two differ in size.
    """
    distinct, order = np.unique(frame_indices, return_inverse=True)
    bank = _Bank(len(distinct), each)
    for name, frame in decode(distinct, bank.room):
        bank.add(name, frame)
    return bank.rows if np.array_equal(distinct, frame_indices) else bank.rows[order]


class _Bank:
    """Rows for decoded frames, filled from the top. The first frame says how large they are."""

    def __init__(self, num_rows: int, each: PerFrame) -> None:
        self.rows = np.empty((num_rows, 0, 0, 3), np.uint8)
        self._each = each
        self._num_filled = 0
        self._spare = np.empty((0, 0, 3), np.uint8)
        self._first_name, self._first_shape = "", (0, 0, 0)

    def room(self, height: int, width: int) -> np.ndarray:
        """(H, W, 3) uint8 to decode the next frame into: its row, or what one row after another
        may use where rows hold something else."""
        shape = (height, width, 3)
        if self._each is unchanged and self._num_filled == 0:
            self.rows = np.empty((len(self.rows), *shape), np.uint8)
        if self._each is unchanged and self.rows.shape[1:] == shape:
            return self.rows[self._num_filled]
        if self._spare.shape != shape:
            self._spare = np.empty(shape, np.uint8)
        return self._spare

    def add(self, name: str, frame: np.ndarray) -> None:
        """Store the next frame, after `each`."""
        if self._num_filled == 0:
            self._first_name, self._first_shape = name, frame.shape
        elif frame.shape != self._first_shape:
            raise UserError(
                f"{name} is {_size(frame.shape)} but {self._first_name} is "
                f"{_size(self._first_shape)}; all frames of a clip must have one size: "
                "extract them again"
            )
        stored = self._each(frame)
        if self._num_filled == 0 and stored.base is not self.rows:
            self.rows = np.empty((len(self.rows), *stored.shape), stored.dtype)
        if stored.base is not self.rows:
            self.rows[self._num_filled] = stored
        self._num_filled += 1


def _look_up(place: Path) -> tuple[Path, int]:
    """Where the links of `place` lead, and the mode of what is there. Raises OSError."""
    path = Path(os.path.realpath(place, strict=True))
    return path, path.stat().st_mode


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} px"

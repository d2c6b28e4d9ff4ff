"""What image folders and videos share: safe paths, and the stacking of decoded frames."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from actionrec.errors import SecurityError, UserError

PerFrame = Callable[[np.ndarray], np.ndarray]


def unchanged(frame: np.ndarray) -> np.ndarray:
    """The frame itself: what `each` is where nothing is to be done."""
    return frame


def regular_file(root: Path, relative: str, clip_id: str, key: str) -> Path:
    """The resolved path of `relative` below `root` (itself resolved).

    Raises UserError when it is missing, loops or is no regular file, SecurityError when it or a
    link on the way leaves `root`; both name the clip and `key`, the configuration key that gave
    `root`.
    """
    place = root / relative
    try:
        path = place.resolve(strict=True)
        mode = path.stat().st_mode
    except (OSError, RuntimeError) as error:  # RuntimeError: links that loop, before Python 3.13
        reason = getattr(error, "strerror", None) or "symbolic links in a loop"
        raise UserError(f"clip {clip_id}: cannot open {place} ({reason}); check {key}") from None
    if not path.is_relative_to(root):
        raise SecurityError(
            f"clip {clip_id}: {place} leads to {str(path)!r}, outside {root}; "
            f"put the file itself there, or set {key} to the folder that holds it"
        )
    if not stat.S_ISREG(mode):
        raise UserError(f"clip {clip_id}: {place} is not a regular file; put the real file there")
    return path


def gather(
    frame_indices: np.ndarray,
    decode: Callable[[np.ndarray], Iterator[tuple[str, np.ndarray]]],
    each: PerFrame,
) -> np.ndarray:
    """Decode each distinct index once and return the frames in the order asked: (F, H, W, 3) uint8.

    `decode` gets the distinct indices in rising order and yields (name, frame) for each. `each` is
    applied to a frame before it is stored, so that a scaled clip never lies in memory at full size.
    Raises UserError naming both frames when two differ in size.
    """
    distinct, order = np.unique(frame_indices, return_inverse=True)
    bank = np.empty(0, np.uint8)
    first_name, first_shape = "", (0, 0, 0)
    for row, (name, frame) in enumerate(decode(distinct)):
        if row == 0:
            first_name, first_shape = name, frame.shape
        elif frame.shape != first_shape:
            raise UserError(
                f"{name} is {_size(frame.shape)} but {first_name} is {_size(first_shape)}; "
                "all frames of a clip must have one size: extract them again"
            )
        stored = each(frame)
        if row == 0:
            bank = np.empty((len(distinct), *stored.shape), np.uint8)
        bank[row] = stored
    return bank if np.array_equal(distinct, frame_indices) else bank[order]


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]} px"

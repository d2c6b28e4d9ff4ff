"""Checkpoints written in the background: training waits for a copy, not for the disk."""

from __future__ import annotations

import errno
import logging
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from actionrec.engine.checkpoint import CheckpointState, resume_order, save_checkpoint
from actionrec.errors import UserError

_FULL = (errno.ENOSPC, errno.EDQUOT)

logger = logging.getLogger(__name__)


class CheckpointWriter:
    """Saves one checkpoint at a time, in a thread of its own.

    keep: how many of the files of whole epochs stay, 0 for all; those within an epoch go when two
    newer files are there. A file is logged when it is safe on the disk, and only then are older
    ones removed. With a full disk training goes on and the next save tries again; another failure
    is raised by the next call. On leaving, what is under way is finished.
    """

    def __init__(self, keep: int = 0) -> None:
        self._keep = keep
        self._thread: threading.Thread | None = None
        self._error: UserError | None = None

    def save(self, path: Path, state: CheckpointState, *, last: bool = False) -> None:
        """Write `state`, as it is now, to `path`; last: wait for it, and a full disk is an error.

        Raises UserError where this, or the one before, could not be written.
        """
        self.wait()
        snapshot = _copied(state)
        work = threading.Thread(target=self._write, args=(path, snapshot, last), name="checkpoint")
        self._thread = work
        work.start()
        if last:
            self.wait()

    def wait(self) -> None:
        """Return when nothing is under way. Raises what went wrong since the last call."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        if self._error is not None:
            error, self._error = self._error, None
            raise error

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.wait()
        except UserError as unsaved:
            if error is None:
                raise
            logger.error("%s", unsaved)  # what ended the run is the first to be told

    def _write(self, path: Path, state: CheckpointState, last: bool) -> None:
        try:
            save_checkpoint(path, state)
        except UserError as error:
            if not last and isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL:
                logger.warning("%s; training goes on without it", error)
            else:
                self._error = error
            return
        logger.info("saved %s", path)
        if resume_order(path) is not None:
            prune(path.parent, self._keep)


def prune(folder: Path, keep: int, remove: Callable[[Path], None] = Path.unlink) -> None:
    """Remove checkpoints that newer ones replace, the oldest first: see CheckpointWriter.

    What is no file, or is not named as a checkpoint to resume from, stays.
    """
    named = [(order, p) for p in folder.iterdir() if (order := resume_order(p)) is not None]
    files = [(order, p) for order, p in sorted(named) if p.is_file() and not p.is_symlink()]
    newest = {path for _, path in files[-2:]}
    whole = [path for (_, step), path in files if step == 0]
    surplus = set(whole[:-keep]) if keep else set()
    for (_, step), path in files:
        if path not in newest and (step or path in surplus):
            try:
                remove(path)
            except OSError as error:
                logger.warning("%s: not removed (%s)", path, error.strerror)


def _copied(value: Any) -> Any:
    """`value` with copies of its tensors on the CPU, which further training does not change."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_copied(inner) for inner in value)
    return value

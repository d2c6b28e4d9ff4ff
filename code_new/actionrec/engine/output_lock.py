"""One run at a time in a folder."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from pathlib import Path
from typing import TextIO

from actionrec import launched
from actionrec.errors import UserError

logger = logging.getLogger(__name__)


class OutputLock:
    """While entered, no other run may use the folder. Raises UserError where one does.

    The lock goes with the process, however it ends; the file beside it only says whose it is. It is
    not inherited by the processes that read clips, and works on network file systems (POSIX locks).
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / ".lock"
        self._file: TextIO | None = None
        self.is_held = False  # in the main process, where the file system can lock

    def __enter__(self) -> OutputLock:
        if not launched.is_main():
            return self
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
            self._file = os.fdopen(descriptor, "r+", encoding="utf-8", errors="replace")
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if self._file is not None and error.errno in (errno.EACCES, errno.EAGAIN):
                holder = self._file.readline(200).strip()
                raise UserError(
                    f"OUTPUT_DIR: {self._path.parent} is in use by {holder or 'another run'}; wait "
                    "for its end, or give this run an OUTPUT_DIR of its own"
                ) from None
            logger.warning(
                "OUTPUT_DIR: %s cannot be locked (%s): see that no second run writes there",
                self._path.parent,
                error.strerror,
            )
            return self
        self.is_held = True
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
        self._file.flush()
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

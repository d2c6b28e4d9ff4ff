"""The sha256 of a file, computed while it is read."""

from __future__ import annotations

import hashlib
from threading import Thread

# Python gives a thread its turn once in 5 ms while another is busy: few turns, each worth it.
_BLOCK_BYTES = 2**22


class ContentHash:
    """sha256 of all pieces, in their order, computed beside whoever adds them."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self._pieces: list[bytes] = []
        self._num_bytes = 0
        self._thread: Thread | None = None

    def add(self, piece: bytes) -> None:
        """Take in the next piece; at most two blocks of 4 MiB are kept."""
        self._pieces.append(piece)
        self._num_bytes += len(piece)
        if self._num_bytes >= _BLOCK_BYTES:
            self._join()
            self._thread = Thread(target=self._hash.update, args=(self._taken(),))
            self._thread.start()

    def hexdigest(self) -> str:
        """Of all that was added. Nothing may be added afterwards."""
        self._join()
        self._hash.update(self._taken())
        return self._hash.hexdigest()

    def _taken(self) -> bytes:
        block = b"".join(self._pieces)
        self._pieces, self._num_bytes = [], 0
        return block

    def _join(self) -> None:
        if self._thread is not None:
            self._thread.join()

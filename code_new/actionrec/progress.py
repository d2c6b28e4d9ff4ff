"""How far a long piece of work is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TextIO, TypeVar

import tqdm

from actionrec import launched

T = TypeVar("T")

_FIRST_LINE_SEC = 5.0
_LINE_EVERY_SEC = 30.0
_NEVER_SILENT_SEC = 120.0


class Progress:
    """Counts up to `total` and shows it on stderr, with the time that is left.

    On a terminal a bar; in a file or a pipe a line after 5 seconds, then one for each tenth, none
    within 30 seconds of the last, and one anyway when the last is 2 minutes old. Lines come when
    something is done, so one long item can keep them waiting. Of a run's processes one shows it.

        for batch in Progress(len(loader), "validation", "batch").over(loader): ...

        with Progress(len(paths), "frames") as progress:
            progress.update()
    """

    def __init__(
        self, total: int, what: str, unit: str = "it", stream: TextIO | None = None
    ) -> None:
        self.total, self.what, self.unit = total, what, unit
        self._stream = sys.stderr if stream is None else stream
        self._done = 0
        self._start = self._last_line = time.monotonic()
        self._lines, self._tenth = 0, 0  # lines so far, and the tenth that the last one told of
        self._bar: tqdm.tqdm | None = None
        self._shown = launched.is_main()
        if self._shown and self._stream.isatty():
            self._bar = tqdm.tqdm(
                total=total,
                desc=what,
                unit=unit,
                file=self._stream,
                leave=False,
                dynamic_ncols=True,
            )

    def update(self, count: int = 1) -> None:
        """Say that `count` more are done."""
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
        elif self._shown and self._is_line_due():
            self._print_line()

    def over(self, items: Iterable[T]) -> Iterator[T]:
        """Give each of `items`; it counts as done when the next one is asked for."""
        with self:
            for item in items:
                yield item
                self.update()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _is_line_due(self) -> bool:
        silent_sec = time.monotonic() - self._last_line
        if not self._lines:
            return silent_sec >= _FIRST_LINE_SEC
        new_tenth = self._tenth_done() > self._tenth
        return silent_sec >= (_LINE_EVERY_SEC if new_tenth else _NEVER_SILENT_SEC)

    def _tenth_done(self) -> int:
        return 10 * self._done // max(self.total, 1)

    def _print_line(self) -> None:
        now = time.monotonic()
        seconds = now - self._start
        left = int(seconds / self._done * max(self.total - self._done, 0))
        percent = 100 * self._done // max(self.total, 1)
        print(
            f"{self.what}: {self._done}/{self.total} {self.unit} ({percent} %), "
            f"{int(seconds)} s so far, {left} s left",
            file=self._stream,
            flush=True,
        )
        self._lines, self._tenth, self._last_line = self._lines + 1, self._tenth_done(), now

"""SIGTERM and SIGUSR1, which Slurm sends before the time is over: save, end, be started again."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from actionrec.errors import Stopped

# 143 is what shells give for SIGTERM; 75 (EX_TEMPFAIL) tells a batch script to queue the job again.
EXIT_CODES = {signal.SIGTERM: 143, signal.SIGUSR1: 75}


class StopSignals:
    """While entered, a signal is noted instead of ending the process; the work asks for it.

    resumes: whether the next start goes on from a checkpoint by itself.

    with StopSignals() as stop:
        for batch in batches:
            ...
            if stop.received: save, and raise stop.stopped("...")
    """

    def __init__(self, *, resumes: bool = True) -> None:
        how = "" if resumes else " with TRAIN.AUTO_RESUME True"
        self._goes_on = f"the same command{how} goes on from there"
        self.received = 0  # the number of the first signal, 0: none yet
        self._before: dict[signal.Signals, object] = {}

    def __enter__(self) -> StopSignals:
        if threading.current_thread() is threading.main_thread():  # others may not install any
            for number in EXIT_CODES:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, _: FrameType | None) -> None:
        self.received = self.received or number

    def stopped(self, saved: str, number: int = 0) -> Stopped:
        """What to raise when the work is at rest; number: of the signal, if another received it."""
        which = signal.Signals(number or self.received)
        return Stopped(
            f"stopped by {which.name}; {saved}; {self._goes_on}",
            EXIT_CODES[which],
        )


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Within it, Ctrl-C waits, and processes that are started ignore it: their parent ends them.

    While it starts a process, Python may lose the exception that Ctrl-C is, and the run would wait
    for processes that had heeded it.
    """
    if threading.current_thread() is not threading.main_thread():  # Ctrl-C goes to that one
        yield
        return
    noted: list[int] = []  # a mask would not do: another thread may receive the signal
    before = signal.signal(signal.SIGINT, lambda number, _: noted.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if noted:
        signal.raise_signal(signal.SIGINT)


def heed_parent_alone() -> None:
    """In a process that reads clips: only its parent may end it by a signal.

    Schedulers signal every process of a job, and the run still needs its batches until it has
    saved. Where the system does not tell who sent a signal (macOS), it ends the worker.
    """
    if not hasattr(signal, "sigwaitinfo"):
        return
    parent = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, EXIT_CODES)

    def watch() -> None:
        while True:
            sent = signal.sigwaitinfo(EXIT_CODES)
            if sent.si_pid == parent:
                os._exit(128 + sent.si_signo)

    threading.Thread(target=watch, daemon=True, name="signals").start()

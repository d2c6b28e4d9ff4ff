"""The runs of a sweep, as commands: those that are finished are left out, the others started.

Each is a process of its own in its own session, so that Ctrl-C reaches the sweep alone, which then
asks its runs to save and end.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from actionrec import launched
from actionrec.engine.scores_file import FILE_NAME, Scores, load_scores
from actionrec.errors import UserError
from actionrec.stop_signals import StopSignals

LOG_NAME = "console.log"
_POLL_SEC = 0.2
_TO_SAVE_SEC = 300.0  # that a run has after a signal


@dataclass(frozen=True, eq=False)
class Run:
    """One training and test. hashes: of its configuration and annotation, as its scores have."""

    model: str
    loss: str
    seed: int
    folder: Path
    hashes: dict[str, str]
    command: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.model}/{self.loss}/seed_{self.seed}"

    def scores(self) -> Scores | None:
        """What it measured; None where it has not, or with another configuration or annotation."""
        try:
            scores = load_scores(self.folder / FILE_NAME)
        except UserError:  # not there, or damaged: then it is measured again
            return None
        return scores if scores.about.get("hashes") == self.hashes else None


class RunQueue:
    """Starts `runs`, `jobs` at a time, and says of each how it ended."""

    def __init__(self, runs: Sequence[Run], jobs: int) -> None:
        self.waiting = deque(run for run in runs if run.scores() is None)
        self.jobs, self.total = jobs, len(self.waiting)
        self.failed: list[str] = []
        self._at_work: dict[Run, subprocess.Popen[bytes]] = {}
        self._done = 0
        if self.total < len(runs):
            print(f"{len(runs) - self.total} of {len(runs)} runs are finished", flush=True)

    def work(self) -> list[str]:
        """Run all; returns the names of those that failed, which do not keep the others back.

        After Ctrl-C, SIGTERM or SIGUSR1 the runs save and end; raises KeyboardInterrupt or Stopped.
        """
        self._started = time.monotonic()
        with StopSignals() as stop:
            try:
                while self.waiting or self._at_work:
                    while self.waiting and len(self._at_work) < self.jobs:
                        self._start(self.waiting.popleft())
                    time.sleep(_POLL_SEC)
                    self._reap()
                    if stop.received:
                        raise stop.stopped(f"{self._done} runs are done, the one at work has saved")
            finally:
                self._end()
        return self.failed

    def _start(self, run: Run) -> None:
        run.folder.mkdir(parents=True, exist_ok=True)
        print(f"{run.name}: started, see {run.folder / LOG_NAME}", flush=True)
        with (run.folder / LOG_NAME).open("ab") as log:
            self._at_work[run] = subprocess.Popen(  # noqa: S603 a list of arguments, no shell
                run.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(self.jobs),
                start_new_session=True,
            )

    def _reap(self) -> None:
        for run, process in list(self._at_work.items()):
            status = process.poll()
            if status is None:
                continue
            del self._at_work[run]
            self._done += 1
            how = "done" if status == 0 else _last_line(run.folder / LOG_NAME)
            if run.scores() is None:
                self.failed.append(run.name)
                how = f"FAILED (exit {status}): {_last_line(run.folder / LOG_NAME)}"
            seconds = time.monotonic() - self._started
            left = seconds / self._done * (self.total - self._done)
            print(
                f"{run.name}: {how}; {self._done}/{self.total} runs, {seconds:.0f} s so far, "
                f"{left:.0f} s left",
                flush=True,
            )

    def _end(self) -> None:
        """Ask what is still at work to save and end; a second Ctrl-C does not wait for it."""
        for process in self._at_work.values():
            process.terminate()
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                for process in self._at_work.values():
                    process.wait(_TO_SAVE_SEC)
        finally:
            for process in self._at_work.values():
                process.kill()


def _environment(jobs: int) -> dict[str, str]:
    threads = {"OMP_NUM_THREADS": launched.threads_of_each(jobs)} if jobs > 1 else {}
    return {**threads, **os.environ}


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

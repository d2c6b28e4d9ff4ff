"""Which process of a run this is, as torchrun says it in the environment. Needs no torch."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

EXIT_STATUS_FILE = "ACTIONREC_EXIT_STATUS_FILE"  # a variable that engine/launch.py sets


def is_launched() -> bool:
    """Whether torchrun, or NUM_GPUS above 1, started this process as one of a run's."""
    return all(name in os.environ for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))


def rank() -> int:
    """The number of this process among all machines', from 0."""
    return _number("RANK", 0)


def world_size() -> int:
    """How many processes the run has on all machines."""
    return _number("WORLD_SIZE", 1)


def local_rank() -> int:
    """The number of this process on its machine, from 0: that of its GPU."""
    return _number("LOCAL_RANK", 0)


def local_world_size() -> int:
    """How many processes of the run this machine has."""
    return _number("LOCAL_WORLD_SIZE", 1)


def is_main() -> bool:
    """Whether this process writes the files and the log of the run; that of rank 0 does."""
    return rank() == 0


def num_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def threads_of_each(processes: int) -> str:
    """OMP_NUM_THREADS for `processes` at a time: with a thread a core in each they would wait."""
    return str(max(num_cores() // processes, 1))


def note_exit(status: int) -> None:
    """Tell the launcher, if it was ours, how the main process ends: a signal hides it from that."""
    path = os.environ.get(EXIT_STATUS_FILE)
    if path and is_launched() and is_main():
        with contextlib.suppress(OSError):
            Path(path).write_text(str(status), encoding="ascii")


def _number(name: str, alone: int) -> int:
    return int(os.environ[name]) if is_launched() and name in os.environ else alone

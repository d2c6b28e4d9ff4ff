"""A signal to one process ends the work of all of them, at the same place."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

from actionrec.engine import distributed
from actionrec.stop_signals import StopSignals

T = TypeVar("T")


def until_signal(items: Iterable[T], stop: StopSignals) -> Iterator[T]:
    """The `items`, until this process has received a signal."""
    for item in items:
        yield item
        if stop.received:
            return


def signal_of_all(stop: StopSignals) -> int:
    """The signal by which one of the processes was asked to end, 0: none was."""
    return int(distributed.gather_numbers([stop.received]).max())


def stop_together(stop: StopSignals, saved: str) -> None:
    """Raise Stopped, in every process, if one of them received a signal; saved: what to say is."""
    number = signal_of_all(stop)
    if number:
        raise stop.stopped(saved, number)

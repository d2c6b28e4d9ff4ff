"""What the losses of the run in progress are built from, for code that builds them without saying.

SlowFast's loop calls `get_loss_func(name)(reduction="mean")` in every step and hands over neither
class counts nor parameters. So whoever starts the run says them here, once in each process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from losses.base import Loss
from losses.weighting import Counts


@dataclass
class Run:
    class_counts: Counts | None = None
    num_clips: int | None = None
    params: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by the loss's name
    built: dict[str, Loss] = field(default_factory=dict)  # so that a loss keeps its state
    epoch: int | None = None  # from 0; None: whoever builds the losses tells them


_run = Run()


def set_run_counts(
    class_counts: Counts | None,
    num_clips: int | None = None,
    *,
    params: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Begin a run with the class counts (C,) and the number of clips of its training split.

    params: name of a loss -> its parameters, as {MODEL.LOSS_FUNC: LOSS.PARAMS}. Counts of None: no
    run is in progress. The losses of the run before, and their state, are forgotten.
    """
    global _run
    _run = Run(class_counts, num_clips, params or {})


def set_run_epoch(epoch: int) -> None:
    """Say which epoch the run in progress is in, from 0, to losses that nobody else tells."""
    _run.epoch = epoch


def current_run() -> Run:
    return _run

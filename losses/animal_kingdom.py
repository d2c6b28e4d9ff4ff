"""The losses as Animal Kingdom's code calls them: `reduce=`, `logits=`, `reset_epoch`, no counts.

Its loop, like SlowFast's, builds its loss anew in every step. So all that are built alike in one
run share one loss, and with it the epoch and every other state.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from losses import build, parameters
from losses.base import Loss, reduced
from losses.run import current_run
from losses.weighting import Counts

_SMALLEST_LOG = -100.0  # torch's binary_cross_entropy takes no logarithm below it


class RunLoss(Loss):
    """A loss that follows the device of its input.

    loss: with reduction none, shared by all that are built alike. logits False: forward takes
    probabilities.
    """

    def __init__(self, loss: Loss, *, logits: bool, reduction: str) -> None:
        super().__init__(reduction=reduction)
        self.loss = loss
        self.logits = logits

    def set_epoch(self, epoch: int) -> None:
        self.loss.set_epoch(epoch)

    def reset_epoch(self, epoch: int) -> None:
        """Animal Kingdom's word for set_epoch."""
        self.set_epoch(epoch)

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        loss = self.loss.to(logits.device)
        if not self.logits and loss.wants == "logits":
            logits = logits_of(logits)
        return reduced(loss(logits, targets), self.reduction)


def run_loss(name: str) -> Callable[..., RunLoss]:
    """What builds the loss `name` for the run in progress, called as Animal Kingdom's classes.

    Raises UnknownLoss.
    """
    parameters(name)
    return partial(_build, name)


def logits_of(probabilities: Tensor) -> Tensor:
    """log p - log(1 - p), both at least -100 as in torch's BCE of p; shape and dtype stay."""
    if not bool(((probabilities >= 0) & (probabilities <= 1)).all()):
        raise ValueError("logits=False takes probabilities, but some are outside 0..1")
    smallest = torch.finfo(torch.float64).tiny
    p = probabilities.double()
    log_p, log_q = (torch.log(x.clamp_min(smallest)).clamp_min(_SMALLEST_LOG) for x in (p, 1 - p))
    return (log_p - log_q).to(probabilities.dtype)


def _build(
    name: str,
    logits: bool = True,
    reduce: str | None = None,
    *,
    reduction: str = "mean",
    class_counts: Counts | None = None,
    num_clips: int | None = None,
    **params: Any,
) -> RunLoss:
    run = current_run()
    params = {**run.params.get(name, {}), **params}
    counts = run.class_counts if class_counts is None else class_counts
    clips = run.num_clips if num_clips is None else num_clips
    listed = None if counts is None else [float(n) for n in counts]
    key = repr((name, listed, clips, sorted(params.items())))
    if key not in run.built:
        run.built[key] = build(
            name, class_counts=counts, num_clips=clips, reduction="none", **params
        )
    loss = run.built[key]
    if run.epoch is not None:
        loss.set_epoch(run.epoch)
    if not logits and not loss.takes_probabilities:
        raise ValueError(f"{name} works on logits; it cannot take probabilities (logits=False)")
    return RunLoss(loss, logits=logits, reduction=reduce or reduction)

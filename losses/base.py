"""What every loss shares: the shapes, the reductions, the word on what it wants, and the epoch.

Legend: N clips, C classes; z logit (before the sigmoid), p = sigmoid(z), y target, n_c training
clips of class c.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

REDUCTIONS = ("mean", "sum", "none")


def reduced(values: Tensor, reduction: str) -> Tensor:
    """`values` (any shape) as they are (none), or their mean or sum as a scalar."""
    if reduction == "none":
        return values
    return values.mean() if reduction == "mean" else values.sum()


def number(name: str, value: Any, low: float, high: float = math.inf) -> float:
    """`value`, a finite number in low..high. Raises ValueError with the name and the value."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if is_number and math.isfinite(value) and low <= value <= high:
        return float(value)
    limits = f"of at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
    raise ValueError(f"{name} is {value!r}; it must be a number {limits}")


class Loss(nn.Module):
    """A loss. A subclass writes `terms`, and says in its class attributes what it needs.

    Constructor keywords besides a loss's own parameters: `reduction` (mean, sum, none) and, where
    the subclass names them, `class_counts`, `num_clips`, `generator`. Nothing is put on a device
    before `.to()` does it.
    """

    wants: ClassVar[str] = "logits"  # or "probabilities": what forward takes
    needs_class_counts: ClassVar[bool] = False
    single_label: ClassVar[bool] = False  # True: it has no meaning for clips with several labels
    takes_probabilities: ClassVar[bool] = True  # False: it cannot be asked with logits=False
    takes_class_weights: ClassVar[bool] = True  # False: DRW has no meaning for it
    soft_targets: ClassVar[bool] = True  # False: targets between 0 and 1 have no meaning for it
    stateful: ClassVar[bool] = False  # True: in training, forward changes what the next one gives

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        if reduction not in REDUCTIONS:
            raise ValueError(
                f"reduction is {reduction!r}; it must be one of {', '.join(REDUCTIONS)}"
            )
        self.reduction = reduction
        self.num_classes: int | None = None  # known to the losses with class counts

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The loss of each clip and class, (N, C), unreduced; both arguments have one dtype."""
        raise NotImplementedError

    def set_epoch(self, epoch: int) -> None:
        """Tell the epoch, from 0, before its first step. Most losses do not care."""

    def phase(self) -> str:
        """What the epochs so far have switched on, in a word for logs; most have nothing to."""
        return ""

    def remarks(self, max_epoch: int) -> list[str]:
        """What a run of `max_epoch` epochs should be told: parameters that have no effect in it."""
        return []

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """logits (N, C) float; targets (N, C) in [0, 1]. Returns a scalar; (N, C) for none.

        Half precision is computed, and returned, in float32. Raises ValueError when the shapes do
        not fit.
        """
        if logits.shape != targets.shape:
            raise ValueError(
                f"logits {tuple(logits.shape)} and targets {tuple(targets.shape)} differ in shape; "
                "both are (clips, classes)"
            )
        if self.num_classes is not None and logits.shape[-1] != self.num_classes:
            raise ValueError(
                f"logits have {logits.shape[-1]} classes, class_counts has {self.num_classes}"
            )
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        return reduced(self.terms(logits, targets.to(logits.dtype)), self.reduction)

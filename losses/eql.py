"""Equalization loss: frequent classes must not push rare ones down all the time."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from losses.base import Loss, number
from losses.weighting import Counts, checked_counts


class EqualizedBCE(Loss):
    """(1 - beta T_c (1 - y)) BCE(z, y): a tail class mostly ignores the clips of others.

    tail (C,) bool is T. beta ~ Bernoulli(gamma) is drawn for each clip and class in each
    forward, from torch's default generator of the logits' device, or from `generator`, which must
    live on that device.
    """

    needs_class_counts = True

    tail: Tensor

    def __init__(
        self, tail: Tensor, gamma: float, generator: torch.Generator | None, reduction: str
    ) -> None:
        super().__init__(reduction=reduction)
        self.num_classes = len(tail)
        self.gamma = number("gamma", gamma, 0, 1)
        self.generator = generator
        self.register_buffer("tail", tail, persistent=False)

    def remarks(self, max_epoch: int) -> list[str]:
        if self.tail.any():
            return []
        return ["no class is rare enough to be in the tail, so this is plain BCE"]

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        draw = torch.rand(logits.shape, device=logits.device, generator=self.generator)
        dropped = (draw < self.gamma) & self.tail
        weights = 1 - dropped.to(logits.dtype) * (1 - targets)
        return weights * F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


class EQL(EqualizedBCE):
    """Tan et al. 2020, arXiv:2003.05176, with the random beta of its classification form.

    A class is tail when n_c / N < tail_fraction (the paper's lambda). class_counts (C,) training
    clips; num_clips: N, the clips in the training split; None: the sum of class_counts. That is N
    for one label a clip; it is more, and so is the tail, where clips have several.
    """

    def __init__(
        self,
        *,
        class_counts: Counts | None = None,
        num_clips: int | None = None,
        tail_fraction: float = 1.76e-3,
        gamma: float = 0.9,
        generator: torch.Generator | None = None,
        reduction: str = "mean",
    ) -> None:
        counts = checked_counts(class_counts)
        if num_clips is None:
            total = torch.as_tensor(class_counts, dtype=torch.float64).sum().clamp_min(1)
        else:
            total = torch.tensor(number("num_clips", num_clips, 1), dtype=torch.float64)
        tail = counts / total < number("tail_fraction", tail_fraction, 0)
        super().__init__(tail, gamma, generator, reduction)

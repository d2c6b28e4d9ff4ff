"""Equalization loss v2: a class is balanced by the gradients it has had, not by its clips."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor
from torch.nn import functional as F

from losses.base import Loss, number
from losses.weighting import Counts, checked_counts


class EQLv2(Loss):
    """(y (1 + alpha (1 - f)) + (1 - y) f) BCE(z, y), f = 1 / (1 + exp(-gamma (g - mu))).

    Tan et al. 2021, arXiv:2012.08548, eqs. 4-6. g of a class is the sum of its positive gradients
    so far, each |p - y| as weighted, over that of its negative ones; 100 before the first. The sums
    grow in training mode alone, over all processes, and are kept in checkpoints. So a batch in two
    parts is not quite the whole batch. class_counts (C,): how many classes there are.
    """

    needs_class_counts = True
    stateful = True

    positive: Tensor
    negative: Tensor

    def __init__(
        self,
        *,
        class_counts: Counts | None = None,
        gamma: float = 12.0,
        mu: float = 0.8,
        alpha: float = 4.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.num_classes = len(checked_counts(class_counts))
        self.gamma, self.mu = number("gamma", gamma, 0), number("mu", mu, 0)
        self.alpha = number("alpha", alpha, 0)
        # The only state: sums of the sizes of the gradients so far.
        self.register_buffer("positive", torch.zeros(self.num_classes))
        self.register_buffer("negative", torch.zeros(self.num_classes))

    def weights(self) -> tuple[Tensor, Tensor]:
        """Those of the positives and of the negatives of each class, both (C,)."""
        seen = self.negative > 0
        ratio = torch.where(seen, self.positive / torch.where(seen, self.negative, 1.0), 100.0)
        f = torch.sigmoid(self.gamma * (ratio - self.mu))
        return 1 + self.alpha * (1 - f), f

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        of_positives, of_negatives = (w.to(logits.dtype) for w in self.weights())
        weights = targets * of_positives + (1 - targets) * of_negatives
        if self.training:
            self._add_gradients(logits.detach(), targets, weights)
        return weights * F.binary_cross_entropy_with_logits(logits, targets, reduction="none")

    def _add_gradients(self, logits: Tensor, targets: Tensor, weights: Tensor) -> None:
        sizes = (logits.sigmoid() - targets).abs() * weights
        sums = torch.stack([(sizes * targets).sum(0), (sizes * (1 - targets)).sum(0)])
        if dist.is_available() and dist.is_initialized():
            dist.all_reduce(sums)
        self.positive += sums[0]
        self.negative += sums[1]

"""Focal loss: easy examples count less."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from losses.base import Loss, number


def focal_terms(logits: Tensor, targets: Tensor, gamma: float) -> Tensor:
    """(1 - p_t)^gamma * -log(p_t), -log(p_t) = BCE. Lin et al. 2017, arXiv:1708.02002, eq. 4.

    logits, targets (N, C), one dtype. Returns (N, C). Gradients are finite for every gamma >= 0 and
    logit.
    """
    bce = -targets * F.logsigmoid(logits) - (1 - targets) * F.logsigmoid(-logits)
    # Through the logarithm, away from 0: the slope of x^gamma at 0 is infinite for gamma < 1.
    floor = torch.finfo(bce.dtype).tiny
    log_miss = torch.log(-torch.expm1(-bce.clamp_min(floor)))
    return torch.exp(gamma * log_miss) * bce


class Focal(Loss):
    """alpha_t (1 - p_t)^gamma BCE(z, y). Lin et al. 2017, arXiv:1708.02002, eq. 5.

    gamma >= 0, 0 is BCE; alpha in [0, 1] weighs y = 1, 1 - alpha weighs y = 0; None: no balancing.
    """

    def __init__(
        self, *, gamma: float = 2.0, alpha: float | None = None, reduction: str = "mean"
    ) -> None:
        super().__init__(reduction=reduction)
        self.gamma = number("gamma", gamma, 0)
        self.alpha = None if alpha is None else number("alpha", alpha, 0, 1)

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        losses = focal_terms(logits, targets, self.gamma)
        if self.alpha is None:
            return losses
        return losses * (self.alpha * targets + (1 - self.alpha) * (1 - targets))

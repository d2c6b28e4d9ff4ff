"""Asymmetric loss: easy negatives, of which there are many, count less than easy positives."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from losses.base import Loss, number


class ASL(Loss):
    """-y (1 - p)^gamma_pos log p - (1 - y) p_m^gamma_neg log(1 - p_m), p_m = max(p - margin, 0).

    Ridnik et al. 2021, arXiv:2009.14119, eqs. 4-7. The mean over clips and classes, where the
    authors' code takes the sum. gamma_pos, gamma_neg >= 0; margin in [0, 1): negatives of a lower
    probability do not count at all. All three 0 is BCE.
    """

    def __init__(
        self,
        *,
        gamma_pos: float = 1.0,
        gamma_neg: float = 4.0,
        margin: float = 0.05,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        self.gamma_pos = number("gamma_pos", gamma_pos, 0)
        self.gamma_neg = number("gamma_neg", gamma_neg, 0)
        self.margin = number("margin", margin, 0, 1)

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        log_p, log_q = F.logsigmoid(logits), F.logsigmoid(-logits)
        positive = torch.exp(self.gamma_pos * log_q) * log_p
        shifted = logits.sigmoid() - self.margin
        counts = shifted > 0
        # Where nothing counts a harmless value stands in: x^gamma may be infinitely steep at 0.
        p_m = torch.where(counts, shifted, 0.5)
        log_q_m = torch.log1p(-p_m) if self.margin else log_q  # log(1 - p) loses digits near 1
        negative = torch.where(counts, p_m**self.gamma_neg * log_q_m, 0.0)
        return -targets * positive - (1 - targets) * negative

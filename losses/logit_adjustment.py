"""Logit adjustment: a rare class must be surer in training, by how rare it is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from losses.base import Loss, number
from losses.weighting import Counts, frequencies


class LogitAdjustedBCE(Loss):
    """BCE(z + tau log(pi_c / (1 - pi_c)), y), pi_c = n_c / N.

    The loss of Menon et al. 2021, arXiv:2007.07314, eq. 10, is a softmax. This sigmoid form is a
    heuristic of ours: the shift is the log-odds of the class instead of its log-prior, and no
    theorem of the paper covers it. class_counts (C,); num_clips: N, None: the sum of the counts;
    tau >= 0, 0 is BCE.
    """

    needs_class_counts = True

    log_odds: Tensor

    def __init__(
        self,
        *,
        class_counts: Counts | None = None,
        num_clips: int | None = None,
        tau: float = 1.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        pi = frequencies(class_counts, num_clips)
        self.num_classes = len(pi)
        self.tau = number("tau", tau, 0)
        self.register_buffer("log_odds", torch.logit(pi).float(), persistent=False)

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        adjusted = logits + self.tau * self.log_odds.to(logits.dtype)
        return F.binary_cross_entropy_with_logits(adjusted, targets, reduction="none")

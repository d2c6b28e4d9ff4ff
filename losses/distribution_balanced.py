"""Distribution-balanced loss: re-balanced weights that know of labels that come together."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from losses.base import Loss, number
from losses.weighting import Counts, checked_counts, frequencies


class DistributionBalanced(Loss):
    """r' (y softplus(-(z - nu)) + (1 - y) softplus(neg_scale (z - nu)) / neg_scale).

    Wu et al. 2020, arXiv:2007.09654. r = (1 / n_c) / sum over the clip's positives k of 1 / n_k
    (eq. 3); r' = alpha + sigmoid(beta (r - mu)) (eq. 4), 1 for a clip without a positive;
    nu = kappa log(1 / pi_c - 1), pi_c = n_c / N (eqs. 5-7). The authors' code divides nu by
    neg_scale: kappa 0.01 here is its 0.05. class_counts (C,); num_clips: N, None: the sum of the
    counts.
    """

    needs_class_counts = True

    inverse_counts: Tensor
    bias: Tensor

    def __init__(
        self,
        *,
        class_counts: Counts | None = None,
        num_clips: int | None = None,
        alpha: float = 0.1,
        beta: float = 10.0,
        mu: float = 0.3,
        kappa: float = 0.05,
        neg_scale: float = 5.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        counts, pi = checked_counts(class_counts), frequencies(class_counts, num_clips)
        self.num_classes = len(counts)
        self.alpha, self.beta = number("alpha", alpha, 0), number("beta", beta, 0)
        self.mu, self.neg_scale = number("mu", mu, 0), number("neg_scale", neg_scale, 1e-6)
        bias = number("kappa", kappa, 0) * -torch.logit(pi)
        self.register_buffer("inverse_counts", (1 / counts).float(), persistent=False)
        self.register_buffer("bias", bias.float(), persistent=False)

    def weights(self, targets: Tensor) -> Tensor:
        """r' (N, C) of the clips with these targets (N, C)."""
        inverse = self.inverse_counts.to(targets.dtype)
        # A product and a sum, as autocast would take a matrix product in half precision.
        of_clip = (targets * inverse).sum(dim=1, keepdim=True)
        has_positive = of_clip > 0
        rebalanced = inverse / torch.where(has_positive, of_clip, 1.0)
        smooth = self.alpha + torch.sigmoid(self.beta * (rebalanced - self.mu))
        return torch.where(has_positive, smooth, 1.0)

    def tolerant(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The negative-tolerant BCE (N, C), before the weights."""
        shifted = logits - self.bias.to(logits.dtype)
        negative = F.softplus(self.neg_scale * shifted) / self.neg_scale
        return targets * F.softplus(-shifted) + (1 - targets) * negative

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self.weights(targets) * self.tolerant(logits, targets)


class DistributionBalancedFocal(DistributionBalanced):
    """The same times (1 - q)^gamma, q = exp(-BCE) of the shifted and scaled logit.

    The paper's DB-focal (section 3.3); the authors' code has another constant factor of 2.
    """

    def __init__(self, *, gamma: float = 2.0, **params: Any) -> None:
        super().__init__(**params)
        self.gamma = number("gamma", gamma, 0)

    def tolerant(self, logits: Tensor, targets: Tensor) -> Tensor:
        shifted = logits - self.bias.to(logits.dtype)
        # log(1 - q) of a positive is logsigmoid(-z), of a negative logsigmoid(lambda z): no 1 - q.
        of_positive = torch.exp(self.gamma * F.logsigmoid(-shifted))
        of_negative = torch.exp(self.gamma * F.logsigmoid(self.neg_scale * shifted))
        negative = F.softplus(self.neg_scale * shifted) / self.neg_scale
        positive = targets * of_positive * F.softplus(-shifted)
        return positive + (1 - targets) * of_negative * negative

"""Two-way loss: labels above the other classes of a clip, and clips above others of a class."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from losses.base import Loss, number


class TwoWay(Loss):
    """softplus(t_neg lse(z_neg / t_neg) + t_pos lse(-z_pos / t_pos)), the mean over clips plus that
    over classes.

    Kobayashi 2023, CVPR, "Two-way Multi-Label Loss", eqs. 5, 9 and 10. lse is log-sum-exp: over the
    classes of a clip, then over the clips of a class. Clips and classes without a positive in the
    batch are left out; a target above 0 is a positive. The values depend on the whole batch, so a
    batch in parts is not the same. t_pos, t_neg > 0.
    """

    takes_class_weights = False
    soft_targets = False

    def __init__(self, *, t_pos: float = 4.0, t_neg: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.t_pos, self.t_neg = number("t_pos", t_pos, 1e-3), number("t_neg", t_neg, 1e-3)

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        """(N, C): the clip's part and the class's, scaled so that their mean is the loss."""
        of_clips, of_classes = (self._way(logits, targets > 0, dim=dim) for dim in (1, 0))
        return of_clips + of_classes

    def _way(self, logits: Tensor, positive: Tensor, dim: int) -> Tensor:
        """The loss of each clip (N, 1) or class (1, C), over the share of those with a positive."""
        hardest_negative = self._soft_max(logits, ~positive, self.t_neg, dim)
        hardest_positive = self._soft_max(-logits, positive, self.t_pos, dim)
        has_both = positive.any(dim, keepdim=True) & ~positive.all(dim, keepdim=True)
        margin = torch.where(has_both, hardest_negative + hardest_positive, 0.0)
        losses = torch.where(has_both, F.softplus(margin), 0.0)
        has_positive = positive.any(dim, keepdim=True)
        return losses / has_positive.to(losses.dtype).mean().clamp_min(1e-12)

    def _soft_max(self, values: Tensor, chosen: Tensor, temperature: float, dim: int) -> Tensor:
        masked = torch.where(chosen, values / temperature, -math.inf)
        # A row with none chosen has no maximum: a finite stand-in keeps its gradient a number.
        masked = torch.where(chosen.any(dim, keepdim=True), masked, 0.0)
        return temperature * masked.logsumexp(dim, keepdim=True)

"""BCE on targets that are not quite sure."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from losses.base import Loss, number


class SmoothedBCE(Loss):
    """BCE(z, (1 - epsilon) y + epsilon / 2). epsilon in [0, 1); 0 is BCE.

    Szegedy et al. 2016, arXiv:1512.00567, section 7, for each class by itself: ours, as the paper
    smooths over the classes of one label.
    """

    def __init__(self, *, epsilon: float = 0.1, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.epsilon = number("epsilon", epsilon, 0, 1)

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        smooth = (1 - self.epsilon) * targets + self.epsilon / 2
        return F.binary_cross_entropy_with_logits(logits, smooth, reduction="none")

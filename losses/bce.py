"""Binary cross entropy, on logits and on probabilities."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from losses.base import Loss


class BCE(Loss):
    """-(y log p + (1 - y) log(1 - p)), from logits. As torch.nn.BCEWithLogitsLoss."""

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


class BCEOfProbabilities(Loss):
    """The same from probabilities in [0, 1], as torch.nn.BCELoss."""

    wants = "probabilities"
    takes_class_weights = False

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy(logits, targets, reduction="none")

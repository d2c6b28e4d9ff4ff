"""Softmax cross entropy, as torch.nn.CrossEntropyLoss: for classes that exclude each other."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from losses.base import Loss, reduced


class SoftCrossEntropy(Loss):
    """-sum_c y_c log softmax(z)_c, targets (N, C) distributions; reduction none gives (N,)."""

    takes_probabilities = False
    takes_class_weights = False  # its terms are of clips

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(logits, targets, reduction="none")


class CrossEntropy(SoftCrossEntropy):
    """-log softmax(z) of the one label; targets (N,) int64 class numbers, or one-hot (N, C)."""

    single_label = True
    soft_targets = False

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        if targets.ndim == logits.ndim:
            return super().forward(logits, targets)
        return reduced(F.cross_entropy(logits, targets, reduction="none"), self.reduction)

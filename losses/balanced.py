"""BCE and focal loss with a weight for each class, from its number of training clips."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional as F

from losses.base import Loss, number
from losses.focal import focal_terms
from losses.weighting import Counts, checked_counts, class_balanced_weights, frequencies


class ClassBalancedBCE(Loss):
    """w_c BCE(z, y), w_c = (1 - beta) / (1 - beta^n_c) scaled to sum to C.

    Cui et al. 2019, arXiv:1901.05555, eq. 5 and its sigmoid form. class_counts (C,) training clips.
    beta 0 is BCE.
    """

    needs_class_counts = True

    weights: Tensor

    def __init__(
        self,
        *,
        class_counts: Counts | None = None,
        beta: float = 0.9999,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        weights = class_balanced_weights(checked_counts(class_counts), beta)
        self.num_classes = len(weights)
        self.register_buffer("weights", weights.float(), persistent=False)

    def unweighted(self, logits: Tensor, targets: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none")

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self.weights.to(logits.dtype) * self.unweighted(logits, targets)


class ClassBalancedFocal(ClassBalancedBCE):
    """w_c (1 - p_t)^gamma BCE(z, y) with the weights of ClassBalancedBCE: the paper's eq. 8."""

    def __init__(self, *, gamma: float = 2.0, **params: Any) -> None:
        super().__init__(**params)
        self.gamma = number("gamma", gamma, 0)

    def unweighted(self, logits: Tensor, targets: Tensor) -> Tensor:
        return focal_terms(logits, targets, self.gamma)


class WeightedBCE(Loss):
    """-(w_c y log p + (1 - y) log(1 - p)), w_c = (N / n_c - 1)^power: torch's pos_weight.

    With power 1 the positives of a class weigh as much as its negatives; 0 is BCE. class_counts
    (C,) training clips; num_clips: N, None: the sum of the counts.
    """

    needs_class_counts = True

    positive_weights: Tensor

    def __init__(
        self,
        *,
        class_counts: Counts | None = None,
        num_clips: int | None = None,
        power: float = 1.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        pi = frequencies(class_counts, num_clips)
        self.num_classes = len(pi)
        weights = (1 / pi - 1) ** number("power", power, 0)
        self.register_buffer("positive_weights", weights.float(), persistent=False)

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        weights = self.positive_weights.to(logits.dtype)
        return F.binary_cross_entropy_with_logits(
            logits, targets, reduction="none", pos_weight=weights
        )


class BalancedBCE(Loss):
    """-(y log p / (2 pi_c) + (1 - y) log(1 - p) / (2 (1 - pi_c))), pi_c = n_c / N.

    Positives and negatives of a class weigh N / 2 each over the training clips, so that neither
    rare nor frequent classes dominate: the weights that scikit-learn calls `balanced`, for each
    class by itself. class_counts (C,); num_clips: N, None: the sum of the counts.
    """

    needs_class_counts = True

    frequency: Tensor

    def __init__(
        self,
        *,
        class_counts: Counts | None = None,
        num_clips: int | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        pi = frequencies(class_counts, num_clips)
        self.num_classes = len(pi)
        self.register_buffer("frequency", pi.float(), persistent=False)

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        pi = self.frequency.to(logits.dtype)
        of_positives = -targets * F.logsigmoid(logits) / (2 * pi)
        return of_positives - (1 - targets) * F.logsigmoid(-logits) / (2 * (1 - pi))

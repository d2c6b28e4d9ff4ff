"""The arithmetic of the losses as Animal Kingdom released them (CVPR 2022): `variant="released"`.

They came by way of VideoLT and differ from the papers; kept so that the published runs can be
repeated.
"""

from __future__ import annotations

import torch
from torch import Tensor

from losses.base import Loss, number
from losses.eql import EqualizedBCE
from losses.focal import focal_terms
from losses.ldam import LDAM
from losses.weighting import Counts, checked_counts


class ReleasedFocal(Loss):
    """alpha (1 - p_t)^gamma BCE with one alpha for both targets. With its gamma 0 it is BCE."""

    def __init__(self, *, gamma: float = 0.0, alpha: float = 1.0, reduction: str = "mean") -> None:
        super().__init__(reduction=reduction)
        self.gamma = number("gamma", gamma, 0)
        self.alpha = number("alpha", alpha, 0)

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self.alpha * focal_terms(logits, targets, self.gamma)


class ReleasedLDAM(LDAM):
    """LDAM in which each positive of a clip loses the sum of the margins of all its positives."""

    def shifted(self, logits: Tensor, targets: Tensor) -> Tensor:
        # A product and a sum, as autocast would take a matrix product in half precision.
        margins = (self.margins.to(logits.dtype) * targets).sum(dim=1, keepdim=True)
        # The released code cast targets to whole numbers here, so only a full label is a positive.
        return torch.where(targets >= 1, logits - margins, logits)


class ReleasedEQL(EqualizedBCE):
    """EQL with the paper's tail_fraction as gamma; tail has at most `max_tail_num` clips."""

    def __init__(
        self,
        *,
        class_counts: Counts | None = None,
        max_tail_num: float = 100,
        gamma: float = 1.76e-3,
        generator: torch.Generator | None = None,
        reduction: str = "mean",
    ) -> None:
        tail = checked_counts(class_counts) <= number("max_tail_num", max_tail_num, 0)
        super().__init__(tail, gamma, generator, reduction)

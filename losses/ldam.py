"""LDAM: rarer classes need a larger margin. DRW: from some epoch on they weigh more, too."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from losses.base import number
from losses.deferred import DeferredWeights
from losses.weighting import Counts, checked_counts


class LDAM(DeferredWeights):
    """w_c BCE(s (z_c - m_c y_c), y_c) with m_c = max_m (n_min / n_c)^(1/4).

    Cao et al. 2019, arXiv:1906.07413. The paper's margin, on sigmoids as a clip has several labels.
    w_c is 1, and from epoch `drw_epoch` to the last the class-balanced weight of `drw_beta`: the
    paper's deferred re-weighting (DRW). class_counts (C,) training clips; max_m and s in units of
    the logits. max_m 0 with s 1 is BCE.
    """

    needs_class_counts = True
    takes_probabilities = False  # s z - m needs the logits

    margins: Tensor

    def __init__(
        self,
        *,
        class_counts: Counts | None = None,
        max_m: float = 0.5,
        s: float = 30.0,
        drw_epoch: int = 80,
        drw_beta: float = 0.9999,
        reduction: str = "mean",
    ) -> None:
        super().__init__(reduction=reduction)
        counts = checked_counts(class_counts)
        self.num_classes = len(counts)
        self.s = number("s", s, 0)
        margins = number("max_m", max_m, 0) * (counts.min() / counts) ** 0.25
        self.register_buffer("margins", margins.float(), persistent=False)
        self.defer(class_counts, drw_epoch, drw_beta)

    def shifted(self, logits: Tensor, targets: Tensor) -> Tensor:
        """The logits (N, C) less the margin of each positive."""
        return logits - self.margins.to(logits.dtype) * targets

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        scaled = self.s * self.shifted(logits, targets)
        bce = F.binary_cross_entropy_with_logits(scaled, targets, reduction="none")
        return self.class_weights.to(logits.dtype) * bce

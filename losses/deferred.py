"""Deferred re-weighting (DRW): from some epoch on rare classes weigh more."""

from __future__ import annotations

import torch
from torch import Tensor

from losses.base import Loss, number
from losses.weighting import Counts, checked_counts, class_balanced_weights


class DeferredWeights(Loss):
    """What a loss with `drw_epoch` shares. Cao et al. 2019, arXiv:1906.07413, section 3.3.

    A subclass calls `defer` in its constructor and multiplies its terms with `class_weights`: 1,
    and from epoch `drw_epoch` (from 0) to the last the class-balanced weights of `drw_beta`.
    """

    deferred_weights: Tensor
    class_weights: Tensor

    def defer(self, counts: Counts | None, drw_epoch: int, drw_beta: float) -> None:
        counts = checked_counts(counts)
        self.drw_epoch = number("drw_epoch", drw_epoch, 0)
        number("drw_beta", drw_beta, 0, 1)
        weights = class_balanced_weights(counts, drw_beta)
        self.register_buffer("deferred_weights", weights.float(), persistent=False)
        # The only state, so the only buffer in a checkpoint: ones, later the deferred weights.
        self.register_buffer("class_weights", torch.ones_like(self.deferred_weights))

    def set_epoch(self, epoch: int) -> None:
        """Weigh the classes from epoch `drw_epoch` on, to the last; before it they all weigh 1."""
        if epoch >= self.drw_epoch:
            self.class_weights.copy_(self.deferred_weights)
        else:
            self.class_weights.fill_(1)

    def phase(self) -> str:
        return "reweighted" if torch.equal(self.class_weights, self.deferred_weights) else "plain"

    def remarks(self, max_epoch: int) -> list[str]:
        if self.drw_epoch < max_epoch:
            return []
        return [
            f"drw_epoch {self.drw_epoch:g} is not reached in {max_epoch} epochs: classes are never "
            "re-weighted"
        ]


class Deferred(DeferredWeights):
    """Another loss, with DRW: the parameter `drw_epoch` of any loss that takes class weights."""

    def __init__(
        self, loss: Loss, *, class_counts: Counts | None, drw_epoch: int, drw_beta: float
    ) -> None:
        super().__init__(reduction=loss.reduction)
        self.loss = loss
        self.wants, self.takes_probabilities = loss.wants, loss.takes_probabilities  # type: ignore[misc]
        self.num_classes = len(checked_counts(class_counts))
        self.defer(class_counts, drw_epoch, drw_beta)

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        self.loss.set_epoch(epoch)

    def remarks(self, max_epoch: int) -> list[str]:
        return [*super().remarks(max_epoch), *self.loss.remarks(max_epoch)]

    def terms(self, logits: Tensor, targets: Tensor) -> Tensor:
        return self.class_weights.to(logits.dtype) * self.loss.terms(logits, targets)

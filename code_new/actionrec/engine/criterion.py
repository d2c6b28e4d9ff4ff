"""The loss of a run: checked before anything is read, then built once with the class counts."""

from __future__ import annotations

import logging

import numpy as np

import losses
from actionrec.data.annotations import ClipTable
from actionrec.data.workbook import count_conflicts, read_class_counts
from actionrec.errors import UserError
from actionrec.types import LossSettings

logger = logging.getLogger(__name__)


def check_loss(loss: LossSettings) -> None:
    """Raises UserError for an unknown loss or parameter, or one that the head cannot train."""
    try:
        losses.check(loss.name, loss.params)
    except losses.UnknownLoss as error:
        raise UserError(f"MODEL.LOSS_FUNC: {error}") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"LOSS.PARAMS: {error}") from None
    if losses.LOSSES[loss.name].wants == "probabilities":
        raise UserError(
            f"MODEL.LOSS_FUNC: {loss.name} takes probabilities, but the heads give logits in "
            "training; use bce_logit (or bce_loss), which is the same loss on logits"
        )


def build_criterion(loss: LossSettings, train: ClipTable, num_classes: int) -> losses.Loss:
    """The loss module; class counts from the training annotation or LOSS.CLASS_COUNTS."""
    counts = train.class_counts(num_classes)
    if losses.LOSSES[loss.name].single_label:
        labels_per_clip = train.targets(num_classes).sum(axis=1)
        if (labels_per_clip != 1).any():
            clip = int(np.flatnonzero(labels_per_clip != 1)[0])
            raise UserError(
                f"MODEL.LOSS_FUNC: {loss.name} is for one label a clip, but clip {train.ids[clip]} "
                f"of {train.source} has {int(labels_per_clip[clip])}; use bce_loss"
            )
    if loss.class_counts is not None:
        table_counts = read_class_counts(loss.class_counts, num_classes)
        for line in count_conflicts(table_counts, counts):
            logger.warning("%s", line)
        counts = table_counts
    losses.set_run_counts(counts.tolist(), len(train), params={loss.name: loss.params})
    try:
        return losses.build(
            loss.name,
            class_counts=counts.tolist(),
            num_classes=num_classes,
            num_clips=len(train),
            **loss.params,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"LOSS.PARAMS: {error}") from None

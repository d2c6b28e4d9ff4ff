"""The loss of a run: checked before anything is read, then built once with the class counts."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

import losses
from actionrec.data.annotations import ClipTable
from actionrec.data.workbook import count_conflicts, read_class_counts
from actionrec.errors import UserError, nearest
from actionrec.types import LossSettings

logger = logging.getLogger(__name__)


def own_params(loss: LossSettings) -> dict[str, Any]:
    """The parameters of the loss in use: those under its own name, then those under none.

    A configuration may hold `LOSS.PARAMS: {LDAM: {s: 20}, EQL: {gamma: 0.5}}`, so that the loss can
    be swapped by MODEL.LOSS_FUNC alone.
    """
    of_losses = {name: value for name, value in loss.params.items() if isinstance(value, dict)}
    for name in of_losses:
        if name not in losses.LOSSES:
            known = ", ".join(nearest(name, list(losses.LOSSES)))
            raise UserError(f"LOSS.PARAMS.{name}: there is no loss of this name; known: {known}")
    shared = {name: value for name, value in loss.params.items() if name not in of_losses}
    own = of_losses.get(loss.name, {})
    variant = str(shared.get("variant", own.get("variant", "paper")))
    return {**losses.of_variant(loss.name, own, variant), **shared}


def check_loss(loss: LossSettings, *, soft_targets: bool = False) -> None:
    """Raises UserError for an unknown loss or parameter, or one that the head cannot train.

    soft_targets: whether targets between 0 and 1 will come, as from TRAIN.MIX.
    """
    params = own_params(loss)
    try:
        losses.check(loss.name, params)
    except losses.UnknownLoss as error:
        raise UserError(f"MODEL.LOSS_FUNC: {error}") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"LOSS.PARAMS: {error}") from None
    if soft_targets and not losses.LOSSES[loss.name].soft_targets:
        raise UserError(
            f"MODEL.LOSS_FUNC: {loss.name} has no meaning for the targets between 0 and 1 that "
            "TRAIN.MIX gives; set TRAIN.MIX none, or another loss"
        )
    if losses.LOSSES[loss.name].wants == "probabilities":
        raise UserError(
            f"MODEL.LOSS_FUNC: {loss.name} takes probabilities, but the heads give logits in "
            "training; use bce_logit (or bce_loss), which is the same loss on logits"
        )


def build_criterion(
    loss: LossSettings, train: ClipTable, *, num_classes: int, max_epoch: int
) -> losses.Loss:
    """The loss module; class counts from the training annotation or LOSS.CLASS_COUNTS."""
    params = own_params(loss)
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
    losses.set_run_counts(counts.tolist(), len(train), params={loss.name: params})
    try:
        criterion = losses.build(
            loss.name,
            class_counts=counts.tolist(),
            num_classes=num_classes,
            num_clips=len(train),
            **params,
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"LOSS.PARAMS: {error}") from None
    for remark in criterion.remarks(max_epoch):
        logger.warning("%s: %s", loss.name, remark)
    return criterion

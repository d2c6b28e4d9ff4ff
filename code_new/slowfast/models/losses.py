"""Replaces SlowFast's file: our losses by their names, all others from the original.

    loss_fun = get_loss_func(cfg.MODEL.LOSS_FUNC)()
    loss_fun.reset_epoch(cur_epoch)
    loss = loss_fun(preds, labels)

The original lies beside this file as losses_original.py.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from losses import LOSSES
from losses.animal_kingdom import run_loss
from slowfast.models import losses_original

UPSTREAM_NAMES = ("bce", "bce_logit", "cross_entropy", "soft_cross_entropy")


def get_loss_func(loss_name: str) -> Callable[..., nn.Module]:
    """What builds the loss `loss_name` when called, with `reduction=` at least.

    SlowFast's names give the original's classes, or ours where the package has none. LDAM and EQL
    take the class counts of the run in progress, or `class_counts=`. Raises losses.UnknownLoss, a
    KeyError, for other names.
    """
    if loss_name in LOSSES and loss_name not in UPSTREAM_NAMES:
        return run_loss(loss_name)
    try:
        return losses_original.get_loss_func(loss_name)
    except NotImplementedError:
        # The package base lacks bce_logit and soft_cross_entropy.
        return run_loss(loss_name)

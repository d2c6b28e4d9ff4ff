"""Replaces SlowFast's file: our losses by their names, all others from the original.

    loss_fun = get_loss_func(cfg.MODEL.LOSS_FUNC)()
    loss_fun.reset_epoch(cur_epoch)
    loss = loss_fun(preds, labels)

The original lies beside this file as losses_original.py.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable

from torch import nn

from losses import LOSSES, set_run_counts
from losses.animal_kingdom import run_loss
from losses.run import current_run
from slowfast.models import losses_original

# Where the processes that upstream spawns for several GPUs find the loss of the run.
LOSS_OF_RUN = "SLOWFAST_AK_LOSS"
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


def run_as_text() -> str:
    """Class counts, number of clips and parameters of the run in progress, for LOSS_OF_RUN."""
    run = current_run()
    return json.dumps([run.class_counts, run.num_clips, run.params])


if LOSS_OF_RUN in os.environ and current_run().class_counts is None:
    _counts, _clips, _params = json.loads(os.environ[LOSS_OF_RUN])
    set_run_counts(_counts, _clips, params=_params)

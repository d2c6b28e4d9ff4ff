"""Batch norm statistics computed anew with fixed weights. Wu and Johnson 2021, arXiv:2105.07576."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from typing import Any

from torch import nn

from actionrec.engine import distributed


def update_batch_norm(model: nn.Module, batches: Iterable[Any], num_batches: int) -> int:
    """Set running means and variances to those of the first `num_batches` batches.

    `model(batch)` is run for each; weights stay. Where `batches` has a length, it may be less than
    `num_batches`. Only batch norm layers in training mode take part, so frozen ones keep theirs.
    Several processes give each its own batches, as many each, and get what all together give.
    Returns the number of batches that were run: 0 for a model without such layers.
    """
    # Imported here: it brings fvcore's flop counters along, which take a second.
    from fvcore.nn.precise_bn import get_bn_modules, update_bn_stats

    if isinstance(batches, Sized):  # fvcore fails when it is asked for more than there are
        num_batches = min(num_batches, len(batches))
    if num_batches <= 0 or not get_bn_modules(model):
        return 0
    update_bn_stats(model, batches, num_batches)
    for layer in get_bn_modules(model):
        mean = distributed.average(layer.running_mean)
        variance = distributed.average(
            layer.running_var + (layer.running_mean.double() - mean).square()
        )
        layer.running_mean.copy_(mean)
        layer.running_var.copy_(variance)
    return num_batches

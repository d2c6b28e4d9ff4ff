"""Batch norm statistics computed anew with fixed weights. Wu and Johnson 2021, arXiv:2105.07576."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from actionrec.engine import distributed


@torch.no_grad()
def update_batch_norm(model: nn.Module, batches: Iterable[Any], num_batches: int) -> int:
    """Set running means and variances to those of the first `num_batches` batches together.

    `model(batch)` is run for each; weights stay. Only batch norm layers in training mode take part,
    so frozen ones keep theirs. Several processes give each its own batches, as many each, and get
    what all together give, whatever their sizes. Returns the number of batches that were run: 0 for
    a model without such layers.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and _is_estimated(m)]
    if not layers:
        return 0
    moments = [_Moments(layer) for layer in layers]
    hooks = [m.layer.register_forward_pre_hook(m.take) for m in moments]
    done = 0
    try:
        for batch in itertools.islice(batches, num_batches):
            model(batch)
            done += 1
    finally:
        for hook in hooks:
            hook.remove()
    if done:
        for of_layer in moments:
            of_layer.put()
    return done


def _is_estimated(layer: _BatchNorm) -> bool:
    return layer.training and layer.track_running_stats


class _Moments:
    """Number, mean and variance per channel of what a layer was given so far, in float64."""

    def __init__(self, layer: _BatchNorm) -> None:
        self.layer = layer
        self.count = 0
        self.mean = self.variance = torch.zeros(layer.num_features, dtype=torch.float64)

    def take(self, _: nn.Module, inputs: tuple[Tensor]) -> None:
        x = inputs[0] if inputs[0].dtype == torch.float64 else inputs[0].float()
        count = x.numel() // x.shape[1]
        variance, mean = torch.var_mean(x, [d for d in range(x.dim()) if d != 1], correction=0)
        self.mean, self.variance = _together(
            torch.tensor([[self.count], [count]], dtype=torch.float64, device=x.device),
            torch.stack([self.mean.to(x.device), mean.double()]),
            torch.stack([self.variance.to(x.device), variance.double()]),
        )
        self.count += count

    def put(self) -> None:
        """Give the layer the moments of all processes."""
        numbers = [float(self.count), *self.mean.tolist(), *self.variance.tolist()]
        every = torch.from_numpy(distributed.gather_numbers(numbers))
        counts, moments = every[:, :1], every[:, 1:].chunk(2, dim=1)
        if not counts.any():  # no batch went through the layer
            return
        buffers = self.layer.running_mean, self.layer.running_var
        for buffer, value in zip(buffers, _together(counts, *moments), strict=True):
            if buffer is not None:
                buffer.copy_(value)


def _together(counts: Tensor, means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of several parts, (parts, channels) each; counts (parts, 1)."""
    shares = counts / counts.sum()
    mean = (shares * means).sum(0)
    return mean, (shares * (variances + (means - mean).square())).sum(0)

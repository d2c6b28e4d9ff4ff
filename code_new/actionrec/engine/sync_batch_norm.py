"""Batch norm over the clips of all processes: BN.NORM_TYPE sync_batchnorm."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn.modules.batchnorm import _BatchNorm


def synchronise(model: nn.Module, device_type: str) -> nn.Module:
    """`model` with its batch norm layers synchronised; their names and weights stay.

    On GPUs by torch's own layer, which has no CPU form.
    """
    if device_type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(model)
    for name, child in model.named_children():
        if isinstance(child, nn.BatchNorm3d):
            setattr(model, name, SyncBatchNorm3d.like(child))
        else:
            synchronise(child, device_type)
    return model


class SyncBatchNorm3d(nn.BatchNorm3d):
    """BatchNorm3d whose mean and variance in training are those of all processes' clips together.

    Ioffe and Szegedy 2015, arXiv:1502.03167, algorithm 1; running_var is unbiased, as torch's.
    """

    @classmethod
    def like(cls, layer: _BatchNorm) -> SyncBatchNorm3d:
        twin = cls(layer.num_features, layer.eps, layer.momentum, layer.affine)
        twin.load_state_dict(layer.state_dict())
        twin.train(layer.training)
        for mine, theirs in zip(twin.parameters(), layer.parameters(), strict=True):
            mine.requires_grad_(theirs.requires_grad)
        return twin

    def forward(self, features: Tensor) -> Tensor:
        if not self.training or not dist.is_initialized():
            return super().forward(features)
        x = features.float()
        count = x.new_full((1,), x.numel() / x.shape[1])
        own_variance, own_mean = torch.var_mean(x, (0, 2, 3, 4), correction=0)
        # Two exchanges: a variance from sums of squares would lose digits.
        sums = _SumOfAll.apply(torch.cat([own_mean * count, count]))
        total, mean = sums[-1], sums[:-1] / sums[-1]
        variance = _SumOfAll.apply((own_variance + (own_mean - mean).square()) * count) / total
        self._update(mean.detach(), (variance * total / (total - 1)).detach())
        scale = torch.rsqrt(variance + self.eps)
        shift = -mean * scale
        if self.affine:
            scale, shift = scale * self.weight, shift * self.weight + self.bias
        shape = (1, -1, 1, 1, 1)
        return (x * scale.view(shape) + shift.view(shape)).to(features.dtype)

    def _update(self, mean: Tensor, variance: Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum or 0.0)
            self.running_var.lerp_(variance, self.momentum or 0.0)


class _SumOfAll(Function):
    """The sum over all processes; a gradient that flows back is that of all of them too."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:
        total = own.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total

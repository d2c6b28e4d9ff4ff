"""X3D, a small network expanded in width and depth. Feichtenhofer 2020, arXiv:2004.04730, table 1.

For the trees whose SlowFast has none. Names, initial weights and rounding are those of SlowFast's
own X3D, bit for bit, so that checkpoints and loss curves can be exchanged with it. Modules are
therefore made in its order, which is the order in which their weights are drawn.

Activations are (N, C, T, H, W): clips, channels, frames, height, width. The network halves H and W
five times, rounding up, and never T.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from actionrec.models.x3d_settings import Stage, X3DSettings, round_width


class _SwishFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * torch.sigmoid(x)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gate = torch.sigmoid(x)
        slope = gate * (1 + x * (1 - gate))
        return grad * slope


class Swish(nn.Module):
    """x * sigmoid(x), keeping x alone for the backward pass.

    torch.nn.SiLU is the same function, but rounds otherwise in both directions.
    """

    def forward(self, x: Tensor) -> Tensor:
        return _SwishFunction.apply(x)


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate from the means of all. Hu et al. 2018, arXiv:1709.01507."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        squeezed = round_width(dim, 1 / 16, least=8, divisor=8)
        self.avg_pool = nn.AdaptiveAvgPool3d(1)
        self.fc1 = nn.Conv3d(dim, squeezed, 1)
        self.fc2 = nn.Conv3d(squeezed, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.fc1(self.avg_pool(x)).relu()
        return x * self.fc2(hidden).sigmoid()


def _named(**layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(layers))


def _conv(
    dim_in: int,
    dim_out: int,
    kernel: tuple[int, int, int] = (1, 1, 1),
    *,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
) -> nn.Conv3d:
    """No bias, a batch norm follows; T stays, H and W become ceil(H / stride), ceil(W / stride)."""
    t, h, w = kernel
    strides, spread = (1, stride, stride), (1, dilation, dilation)
    padding = (t // 2, h // 2 * dilation, w // 2 * dilation)
    return nn.Conv3d(dim_in, dim_out, kernel, strides, padding, spread, groups, bias=False)


def _stem(dim: int) -> nn.Sequential:
    """RGB (N, 3, T, H, W) -> (N, dim, T, H / 2, W / 2): in space first, then in time by channel."""
    return _named(
        conv_xy=_conv(3, dim, (1, 3, 3), stride=2),
        conv=_conv(dim, dim, (5, 1, 1), groups=dim),
        bn=nn.BatchNorm3d(dim),
        relu=nn.ReLU(inplace=True),
    )


class ResidualBlock(nn.Module):
    """A bottleneck beside a shortcut; the first block of a stage halves H and W in both."""

    def __init__(self, dim_in: int, stage: Stage, index: int, settings: X3DSettings) -> None:
        super().__init__()
        stride = 1 if index else 2
        self.projects = index == 0
        if self.projects:
            self.branch1 = _conv(dim_in, stage.dim_out, stride=stride)
            self.branch1_bn = nn.BatchNorm3d(stage.dim_out)
        stride_a, stride_b = (stride, 1) if settings.stride_1x1 else (1, stride)
        inner, groups, dilation = stage.dim_inner, stage.num_groups, stage.dilation
        self.branch2 = _named(
            a=_conv(dim_in, inner, stride=stride_a),
            a_bn=nn.BatchNorm3d(inner),
            a_relu=nn.ReLU(inplace=True),
            b=_conv(inner, inner, (3, 3, 3), stride=stride_b, groups=groups, dilation=dilation),
            b_bn=nn.BatchNorm3d(inner),
            # The first block of a stage has one, and every second block after it.
            **({} if index % 2 else {"se": SqueezeExcitation(inner)}),
            b_relu=Swish(),
            c=_conv(inner, stage.dim_out),
            c_bn=(final_bn := nn.BatchNorm3d(stage.dim_out)),
        )
        if settings.zero_init_final_bn:
            nn.init.zeros_(final_bn.weight)  # the block starts as its shortcut
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        residual = self.branch2(x)
        shortcut = self.branch1_bn(self.branch1(x)) if self.projects else x
        return self.relu(shortcut + residual)


class Head(nn.Module):
    """(N, C, T, H, W) -> (N, num_classes): logits in training, scores in evaluation.

    Pools over all frames and over what a training crop has become. A larger crop has several such
    positions: its scores are the mean of theirs, after the activation.
    """

    def __init__(self, last: Stage, settings: X3DSettings) -> None:
        super().__init__()
        inner, side = last.dim_inner, math.ceil(settings.crop_px / 32)
        self.conv_5 = _conv(last.dim_out, inner)
        self.conv_5_bn = nn.BatchNorm3d(inner)
        self.conv_5_relu = nn.ReLU(inplace=True)
        self.avg_pool = nn.AvgPool3d((settings.num_frames, side, side), stride=1)
        self.lin_5 = _conv(inner, settings.dim_c5)
        self.lin_5_bn = nn.BatchNorm3d(settings.dim_c5) if settings.bn_lin5 else nn.Identity()
        self.lin_5_relu = nn.ReLU(inplace=True)
        self.dropout = nn.Dropout(settings.dropout)
        self.projection = nn.Linear(settings.dim_c5, settings.num_classes)
        self.act = nn.Sigmoid() if settings.head_act == "sigmoid" else nn.Softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.avg_pool(self.conv_5_relu(self.conv_5_bn(self.conv_5(x))))
        x = self.lin_5_relu(self.lin_5_bn(self.lin_5(x)))
        x = self.projection(self.dropout(x.permute(0, 2, 3, 4, 1)))  # channels last
        if not self.training:
            x = self.act(x).mean((1, 2, 3))
        return x.flatten(1)


class X3D(nn.Module):
    """[(N, 3, T, H, W)] float -> (N, num_classes), see Head. The list is left as it is."""

    def __init__(self, settings: X3DSettings) -> None:
        super().__init__()
        dim = round_width(settings.dim_c1, settings.width_factor)
        self.s1 = _named(pathway0_stem=_stem(dim))
        stages = settings.stages()
        for number, stage in enumerate(stages, start=2):
            blocks: dict[str, nn.Module] = {}
            for index in range(stage.num_blocks):
                blocks[f"pathway0_res{index}"] = ResidualBlock(dim, stage, index, settings)
                dim = stage.dim_out
            self.add_module(f"s{number}", _named(**blocks))
        self.head = Head(stages[-1], settings)
        self._initialise(settings.fc_init_std)

    def _initialise(self, fc_init_std: float) -> None:
        """Convolutions as He et al. 2015, arXiv:1502.01852; batch norms are left as they are."""
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=fc_init_std)
            if isinstance(module, nn.Conv3d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, pathways: list[Tensor]) -> Tensor:
        (x,) = pathways
        for part in self.children():
            x = part(x)
        return x

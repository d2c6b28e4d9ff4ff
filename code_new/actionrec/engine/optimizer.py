"""The optimizer; its parameter groups are SlowFast's, in that order, so states can move."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from actionrec.errors import UserError, nearest
from actionrec.types import SolverSettings

METHODS = ("sgd", "adam", "adamw")


def build_optimizer(model: nn.Module, solver: SolverSettings) -> torch.optim.Optimizer:
    """SGD, Adam or AdamW over `parameter_groups`.

    Raises UserError for an unknown method and for Nesterov momentum without momentum or with
    dampening.
    """
    groups = parameter_groups(model, solver)
    shared: dict[str, Any] = {"lr": solver.base_lr, "weight_decay": solver.weight_decay}
    if solver.method == "sgd":
        _check_nesterov(solver)
        return torch.optim.SGD(
            groups,
            momentum=solver.momentum,
            dampening=solver.dampening,
            nesterov=solver.nesterov,
            **shared,
        )
    if solver.method == "adam":
        return torch.optim.Adam(groups, betas=(0.9, 0.999), **shared)
    if solver.method == "adamw":
        return torch.optim.AdamW(groups, betas=(0.9, 0.999), eps=1e-8, **shared)
    known = ", ".join(nearest(solver.method, list(METHODS)))
    raise UserError(f"SOLVER.OPTIMIZING_METHOD: unknown method {solver.method!r}; known: {known}")


def parameter_groups(model: nn.Module, solver: SolverSettings) -> list[dict[str, Any]]:
    """The trained parameters of normalisation layers, the others, and those without weight decay.

    Each group has its weight decay; empty ones are left out. Normalisation is told by the type of
    the module. The third group is there with `zero_wd_1d` only: the other one-dimensional ones.
    """
    norm: list[nn.Parameter] = []
    rest: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    for module in model.modules():
        for parameter in module.parameters(recurse=False):
            if not parameter.requires_grad:
                continue
            if isinstance(module, _NormBase):
                norm.append(parameter)
            elif solver.zero_wd_1d and parameter.ndim == 1:
                undecayed.append(parameter)
            else:
                rest.append(parameter)
    decays = (solver.bn_weight_decay, solver.weight_decay, 0.0)
    return [
        {"params": parameters, "weight_decay": decay}
        for parameters, decay in zip((norm, rest, undecayed), decays, strict=True)
        if parameters
    ]


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every parameter group the learning rate `lr`."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def _check_nesterov(solver: SolverSettings) -> None:
    if solver.nesterov and (solver.momentum <= 0 or solver.dampening != 0):
        raise UserError(
            f"SOLVER.NESTEROV: True needs SOLVER.MOMENTUM above 0 and SOLVER.DAMPENING 0, not "
            f"{solver.momentum:g} and {solver.dampening:g}; set NESTEROV False or change those"
        )

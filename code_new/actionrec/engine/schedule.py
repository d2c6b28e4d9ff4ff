"""The learning rate at any point of a run: equal to that of SlowFast's lr_policy.py."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable

from actionrec.errors import UserError, nearest
from actionrec.types import SolverSettings


def learning_rate(solver: SolverSettings, epoch: float) -> float:
    """The rate at `epoch`, counted from 0, fractions within an epoch.

    Below `warmup_epochs` it grows linearly from `warmup_start_lr` to what the policy gives at
    `warmup_epochs`. Raises UserError for an unknown policy, or for settings that the policy cannot
    work with.
    """
    check_schedule(solver)
    policy = POLICIES[solver.policy]
    if epoch >= solver.warmup_epochs:
        return policy(solver, epoch)
    slope = (policy(solver, solver.warmup_epochs) - solver.warmup_start_lr) / solver.warmup_epochs
    return epoch * slope + solver.warmup_start_lr


def check_schedule(solver: SolverSettings) -> None:
    """Raise UserError where the settings of the schedule contradict each other."""
    if solver.policy not in POLICIES:
        known = ", ".join(nearest(solver.policy, list(POLICIES)))
        raise UserError(f"SOLVER.LR_POLICY: unknown policy {solver.policy!r}; known: {known}")
    if solver.policy == "cosine":
        _check_cosine(solver)
    else:
        _check_steps(solver)


def _cosine(solver: SolverSettings, epoch: float) -> float:
    """Half a cosine, base_lr to cosine_end_lr. Loshchilov, Hutter 2017, arXiv:1608.03983, eq. 5."""
    start = solver.warmup_epochs if solver.cosine_after_warmup else 0.0
    phase = math.cos(math.pi * (epoch - start) / (solver.max_epoch - start))
    return solver.cosine_end_lr + (solver.base_lr - solver.cosine_end_lr) * (phase + 1.0) * 0.5


def _steps_with_relative_lrs(solver: SolverSettings, epoch: float) -> float:
    """lrs[i] * base_lr from epoch steps[i] on."""
    return solver.lrs[bisect_right(solver.steps, epoch) - 1] * solver.base_lr


POLICIES: dict[str, Callable[[SolverSettings, float], float]] = {
    "cosine": _cosine,
    "steps_with_relative_lrs": _steps_with_relative_lrs,
}


def _check_cosine(solver: SolverSettings) -> None:
    if solver.cosine_end_lr >= solver.base_lr:
        raise UserError(
            f"SOLVER.COSINE_END_LR: {solver.cosine_end_lr:g} is not below SOLVER.BASE_LR "
            f"{solver.base_lr:g}; lower it, or raise BASE_LR"
        )
    if solver.cosine_after_warmup and solver.warmup_epochs >= solver.max_epoch:
        raise UserError(
            f"SOLVER.WARMUP_EPOCHS: {solver.warmup_epochs:g} leaves no epoch of SOLVER.MAX_EPOCH "
            f"{solver.max_epoch} for the cosine that SOLVER.COSINE_AFTER_WARMUP starts; lower it"
        )


def _check_steps(solver: SolverSettings) -> None:
    steps = list(solver.steps)
    if not steps or steps[0] != 0:
        raise UserError(
            f"SOLVER.STEPS: {steps} does not start at 0; the first step is the first epoch, as in "
            "[0, 41, 49]"
        )
    if steps != sorted(set(steps)):
        raise UserError(f"SOLVER.STEPS: {steps} does not rise from each step to the next; sort it")
    # SlowFast's own Charades configurations have more rates than steps: the last are not reached.
    if len(solver.lrs) < len(steps):
        raise UserError(
            f"SOLVER.LRS: {len(solver.lrs)} rates for the {len(steps)} SOLVER.STEPS; give one for "
            "each step"
        )

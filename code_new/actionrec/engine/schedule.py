"""The learning rate at any point of a run: SlowFast's policies, warm restarts and the plateau.

It depends on the settings, the epoch and the validations so far, and on no other state.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterator

from actionrec.engine.patience import History, num_reductions
from actionrec.errors import UserError, nearest
from actionrec.types import SolverSettings


def learning_rate(solver: SolverSettings, epoch: float, history: History = ()) -> float:
    """The rate at `epoch`, counted from 0, fractions within an epoch.

    Below `warmup_epochs` it grows linearly from `warmup_start_lr` to what the policy gives at
    `warmup_epochs`. history: the validations of the run, of which those up to `epoch` count; only
    the policy `plateau` looks at them. Raises UserError for an unknown policy, or for settings that
    the policy cannot work with.
    """
    check_schedule(solver)
    policy, _ = POLICIES[solver.policy]
    history = [entry for entry in history if entry[0] <= epoch]
    if epoch >= solver.warmup_epochs:
        return policy(solver, epoch, history)
    end = policy(solver, solver.warmup_epochs, history)
    slope = (end - solver.warmup_start_lr) / solver.warmup_epochs
    return epoch * slope + solver.warmup_start_lr


def check_schedule(solver: SolverSettings) -> None:
    """Raise UserError, a line each, where settings of the schedule contradict each other."""
    if solver.policy not in POLICIES:
        known = ", ".join(nearest(solver.policy, list(POLICIES)))
        raise UserError(f"SOLVER.LR_POLICY: unknown policy {solver.policy!r}; known: {known}")
    _, check = POLICIES[solver.policy]
    if problems := list(check(solver)):
        raise UserError("\n".join(problems))


def _cosine(solver: SolverSettings, epoch: float, history: History) -> float:
    """Half a cosine from base_lr to cosine_end_lr, which `max_epoch` reaches."""
    start = solver.warmup_epochs if solver.cosine_after_warmup else 0.0
    return _half_cosine(solver, (epoch - start) / (solver.max_epoch - start))


def _cosine_restarts(solver: SolverSettings, epoch: float, history: History) -> float:
    """One half cosine after another, each `restart_mult` times as long as the last (SGDR)."""
    since_restart = epoch - (solver.warmup_epochs if solver.cosine_after_warmup else 0.0)
    cycle = solver.restart_epochs
    while since_restart >= cycle:
        since_restart -= cycle
        cycle *= solver.restart_mult
    return _half_cosine(solver, since_restart / cycle)


def _half_cosine(solver: SolverSettings, part: float) -> float:
    """The rate after `part` (0..1) of a cycle. Loshchilov, Hutter 2017, arXiv:1608.03983, eq. 5."""
    phase = math.cos(math.pi * part)
    return solver.cosine_end_lr + (solver.base_lr - solver.cosine_end_lr) * (phase + 1.0) * 0.5


def _steps_with_relative_lrs(solver: SolverSettings, epoch: float, history: History) -> float:
    """lrs[i] * base_lr from epoch steps[i] on."""
    return solver.lrs[bisect_right(solver.steps, epoch) - 1] * solver.base_lr


def _plateau(solver: SolverSettings, epoch: float, history: History) -> float:
    """base_lr, times `plateau_factor` whenever `plateau_patience` validations were no better."""
    factor = solver.plateau_factor ** num_reductions(history, solver.plateau_patience)
    return max(solver.base_lr * factor, solver.plateau_min_lr)


def _check_cosine(solver: SolverSettings) -> Iterator[str]:
    if solver.cosine_end_lr >= solver.base_lr:
        yield (
            f"SOLVER.COSINE_END_LR: {solver.cosine_end_lr:g} is not below SOLVER.BASE_LR "
            f"{solver.base_lr:g}; lower it, or raise BASE_LR"
        )
    if solver.cosine_after_warmup and solver.warmup_epochs >= solver.max_epoch:
        yield (
            f"SOLVER.WARMUP_EPOCHS: {solver.warmup_epochs:g} leaves no epoch of SOLVER.MAX_EPOCH "
            f"{solver.max_epoch} for the cosine that SOLVER.COSINE_AFTER_WARMUP starts; lower it"
        )


def _check_restarts(solver: SolverSettings) -> Iterator[str]:
    yield from _check_cosine(solver)
    if solver.restart_epochs < 1:
        yield (
            f"SOLVER.RESTART_EPOCHS: {solver.restart_epochs:g} is too short; the first cycle has "
            "at least 1 epoch"
        )
    if solver.restart_mult < 1:
        yield (
            f"SOLVER.RESTART_MULT: {solver.restart_mult:g} is too small; a cycle is as long as the "
            "last (1) or longer"
        )


def _check_steps(solver: SolverSettings) -> Iterator[str]:
    steps = list(solver.steps)
    if not steps or steps[0] != 0:
        yield (
            f"SOLVER.STEPS: {steps} does not start at 0; the first step is the first epoch, as in "
            "[0, 41, 49]"
        )
    elif steps != sorted(set(steps)):
        yield f"SOLVER.STEPS: {steps} does not rise from each step to the next; sort it"
    # SlowFast's own Charades configurations have more rates than steps: the last are not reached.
    if len(solver.lrs) < len(steps):
        yield (
            f"SOLVER.LRS: {len(solver.lrs)} rates for the {len(steps)} SOLVER.STEPS; give one for "
            "each step"
        )


def _check_plateau(solver: SolverSettings) -> Iterator[str]:
    if not 0 < solver.plateau_factor < 1:
        yield (
            f"SOLVER.PLATEAU_FACTOR: {solver.plateau_factor:g} is not between 0 and 1; 0.1 divides "
            "the rate by ten"
        )
    if solver.plateau_min_lr >= solver.base_lr:
        yield (
            f"SOLVER.PLATEAU_MIN_LR: {solver.plateau_min_lr:g} is not below SOLVER.BASE_LR "
            f"{solver.base_lr:g}; lower it, or raise BASE_LR"
        )


POLICIES: dict[
    str,
    tuple[
        Callable[[SolverSettings, float, History], float],  # the rate
        Callable[[SolverSettings], Iterator[str]],  # what it cannot work with
    ],
] = {
    "cosine": (_cosine, _check_cosine),
    "cosine_restarts": (_cosine_restarts, _check_restarts),
    "plateau": (_plateau, _check_plateau),
    "steps_with_relative_lrs": (_steps_with_relative_lrs, _check_steps),
}

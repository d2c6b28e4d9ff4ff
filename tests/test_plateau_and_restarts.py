"""Warm restarts and the plateau are PyTorch's, as functions of the epoch and the history."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actionrec.engine.patience import extended, should_stop
from actionrec.engine.schedule import learning_rate
from actionrec.errors import UserError
from actionrec.types import SolverSettings

RESTARTS = SolverSettings(
    base_lr=0.1, max_epoch=100, policy="cosine_restarts", restart_epochs=10.0, restart_mult=2.0
)
PLATEAU = SolverSettings(
    base_lr=0.1, max_epoch=100, policy="plateau", plateau_patience=2, plateau_factor=0.5
)

# Few values, so that many are equal: an equal mAP is no better one.
maps = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4, float("nan")]), max_size=40)
patiences = st.integers(1, 5)


def an_optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)


@given(
    epoch=st.floats(0, 150),
    first=st.integers(1, 20),
    mult=st.integers(1, 3),
    end=st.sampled_from([0.0, 0.01]),
)
def test_restarts_are_those_of_pytorch(epoch, first, mult, end):
    solver = replace(
        RESTARTS, restart_epochs=float(first), restart_mult=float(mult), cosine_end_lr=end
    )
    theirs = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(
        an_optimizer(), T_0=first, T_mult=mult, eta_min=end
    )
    theirs.step(epoch)
    (expected,) = theirs.get_last_lr()
    assert learning_rate(solver, epoch) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize(
    ("epoch", "expected"), [(0, 0.1), (5, 0.05), (10, 0.1), (20, 0.05), (30, 0.1), (50, 0.05)]
)
def test_a_cycle_begins_at_the_base_rate_and_is_twice_as_long_as_the_last(epoch, expected):
    assert learning_rate(RESTARTS, epoch) == pytest.approx(expected)


def test_the_first_cycle_may_begin_after_the_warm_up():
    solver = replace(RESTARTS, warmup_epochs=4.0, warmup_start_lr=0.0, cosine_after_warmup=True)
    assert learning_rate(solver, 2) == pytest.approx(0.05)
    for epoch in (0, 5, 9.5, 25):
        assert learning_rate(solver, epoch + 4) == pytest.approx(learning_rate(RESTARTS, epoch))


def history_of(values: list[float]) -> list[tuple[float, float]]:
    """A validation after each epoch."""
    return [(epoch + 1, value) for epoch, value in enumerate(values)]


@given(values=maps, patience=patiences, factor=st.sampled_from([0.1, 0.5]))
def test_the_plateau_is_that_of_pytorch(values, patience, factor):
    solver = replace(
        PLATEAU, plateau_patience=patience, plateau_factor=factor, plateau_min_lr=0.001
    )
    optimizer = an_optimizer()
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer,
        mode="max",
        factor=factor,
        patience=patience - 1,  # theirs are tolerated, the next one reduces
        threshold=0.0,
        min_lr=0.001,
        eps=0.0,
    )
    history = history_of(values)
    for epoch, value in history:
        theirs.step(value)
        expected = optimizer.param_groups[0]["lr"]
        assert learning_rate(solver, epoch, history[: int(epoch)]) == pytest.approx(expected)
        # What came later changes nothing: a resumed run may hold the history of the first one.
        assert learning_rate(solver, epoch, history) == pytest.approx(expected)


def test_the_rate_falls_from_the_validation_on_that_was_one_too_many():
    history = history_of([0.3, 0.2, 0.3, 0.1])
    rates = [learning_rate(PLATEAU, epoch, history) for epoch in (0, 2.9, 3, 3.5, 4, 50)]
    assert rates == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.05, 0.05])


def test_a_warm_up_leads_to_the_rate_of_the_validations_so_far():
    solver = replace(PLATEAU, warmup_epochs=10.0, warmup_start_lr=0.0)
    history = history_of([0.3, 0.2, 0.2, 0.2, 0.2])
    assert learning_rate(solver, 2, history) == pytest.approx(0.02)
    assert learning_rate(solver, 4, history) == pytest.approx(0.02)
    assert learning_rate(solver, 10, history) == pytest.approx(0.025)


def test_a_validation_that_a_resume_repeats_counts_once():
    history = extended(extended([], 1, 0.3), 2, 0.2)
    assert history == [(1, 0.3), (2, 0.2)]
    assert extended(history, 2, 0.2) == history
    assert extended(history, 3, 0.1) == [*history, (3, 0.1)]


@given(values=maps, patience=patiences)
def test_training_stops_where_the_plateau_first_falls(values, patience):
    values = [0.15, *values]
    solver = replace(PLATEAU, plateau_patience=patience)
    for epoch, _ in history_of(values):
        history = history_of(values)[: int(epoch)]
        stops = should_stop(history, patience)
        assert stops == (learning_rate(solver, epoch, history) < solver.base_lr)
        assert not should_stop(history, 0)
        if stops:
            return


def test_a_run_that_gets_better_again_goes_on():
    """Its patience was longer, or off, when it did not get better."""
    history = history_of([0.3, 0.2, 0.2, 0.2, 0.4])
    assert should_stop(history[:4], 3) and not should_stop(history, 3)
    nothing_to_tell = float("nan")
    assert should_stop(history_of([nothing_to_tell] * 3), 2)


@pytest.mark.parametrize(
    ("solver", "message"),
    [
        (replace(RESTARTS, restart_epochs=0.0), "SOLVER.RESTART_EPOCHS: 0 is too short"),
        (replace(RESTARTS, restart_mult=0.5), "SOLVER.RESTART_MULT: 0.5 is too small"),
        (replace(RESTARTS, cosine_end_lr=0.1), "SOLVER.COSINE_END_LR: 0.1 is not below"),
        (replace(PLATEAU, plateau_factor=1.0), "SOLVER.PLATEAU_FACTOR: 1 is not between 0 and 1"),
        (replace(PLATEAU, plateau_min_lr=0.1), "SOLVER.PLATEAU_MIN_LR: 0.1 is not below"),
    ],
)
def test_settings_that_a_policy_cannot_work_with_are_one_line(solver, message):
    with pytest.raises(UserError, match=message):
        learning_rate(solver, 1.0)

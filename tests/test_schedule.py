"""Learning rate and optimizer are SlowFast's, in every policy and method."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from actionrec.engine.optimizer import build_optimizer, set_learning_rate
from actionrec.engine.schedule import learning_rate
from actionrec.errors import UserError
from actionrec.types import SolverSettings

COSINE = SolverSettings(base_lr=0.1, max_epoch=196, warmup_epochs=34.0, warmup_start_lr=0.01)
STEPS = SolverSettings(
    base_lr=0.0375,
    max_epoch=57,
    policy="steps_with_relative_lrs",
    steps=(0, 41, 49),
    lrs=(1, 0.1, 0.01, 0.001, 0.0001, 0.00001),
    warmup_epochs=4.0,
    warmup_start_lr=0.0001,
)


def written_out(solver: SolverSettings, epoch: float) -> float:
    """The slowest clear way: the whole schedule as one function of the settings."""

    def policy(at: float) -> float:
        if solver.policy == "cosine":
            begin = solver.warmup_epochs if solver.cosine_after_warmup else 0
            part = (at - begin) / (solver.max_epoch - begin)
            low, high = solver.cosine_end_lr, solver.base_lr
            return low + (high - low) * (1 + math.cos(math.pi * part)) / 2
        rate = None
        for step, relative in zip(solver.steps, solver.lrs, strict=False):
            if at >= step:
                rate = relative * solver.base_lr
        return rate

    if epoch < solver.warmup_epochs:
        part = epoch / solver.warmup_epochs
        return (1 - part) * solver.warmup_start_lr + part * policy(solver.warmup_epochs)
    return policy(epoch)


@given(
    epoch=st.floats(0, 250),
    warmup=st.sampled_from([0.0, 4.0, 34.0]),
    end=st.sampled_from([0.0, 0.01]),
    after=st.booleans(),
)
def test_the_cosine_equals_the_written_out_schedule(epoch, warmup, end, after):
    solver = replace(COSINE, warmup_epochs=warmup, cosine_end_lr=end, cosine_after_warmup=after)
    expected = written_out(solver, epoch)
    assert learning_rate(solver, epoch) == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(epoch=st.floats(0, 80), warmup=st.sampled_from([0.0, 4.0, 45.0]))
def test_the_steps_equal_the_written_out_schedule(epoch, warmup):
    solver = replace(STEPS, warmup_epochs=warmup)
    expected = written_out(solver, epoch)
    assert learning_rate(solver, epoch) == pytest.approx(expected, rel=1e-9)


# Computed by hand from SlowFast's formulas for its Kinetics and Charades configurations.
@pytest.mark.parametrize(
    ("solver", "epoch", "expected"),
    [
        (COSINE, 0, 0.01),
        (COSINE, 17, (0.01 + 0.1 * (math.cos(math.pi * 34 / 196) + 1) / 2) / 2),
        (COSINE, 98, 0.05),
        (COSINE, 196, 0.0),
        (replace(COSINE, cosine_after_warmup=True), 34, 0.1),
        (replace(COSINE, cosine_after_warmup=True), 115, 0.05),
        (replace(COSINE, cosine_end_lr=0.02, warmup_epochs=0.0), 98, 0.06),
        (replace(COSINE, warmup_epochs=0.0), 0, 0.1),
        (STEPS, 0, 0.0001),
        (STEPS, 2, (0.0001 + 0.0375) / 2),
        (STEPS, 40.99, 0.0375),
        (STEPS, 41, 0.00375),
        (STEPS, 49, 0.000375),
        (STEPS, 57, 0.000375),
        (STEPS, 100, 0.000375),
    ],
)
def test_the_rate_is_what_slowfast_gives(solver, epoch, expected):
    assert learning_rate(solver, epoch) == pytest.approx(expected, rel=1e-12, abs=1e-15)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"policy": "cosin"}, "SOLVER.LR_POLICY: unknown policy 'cosin'; known: cosine, cosine_re"),
        ({"policy": "step"}, "SOLVER.LR_POLICY: unknown policy 'step'; known: "),
        ({"cosine_end_lr": 0.1}, "SOLVER.COSINE_END_LR: 0.1 is not below SOLVER.BASE_LR 0.1"),
        (
            {"cosine_after_warmup": True, "max_epoch": 2},
            "SOLVER.WARMUP_EPOCHS: 34 leaves no epoch of SOLVER.MAX_EPOCH 2",
        ),
        ({"steps": ()}, r"SOLVER.STEPS: \[\] does not start at 0"),
        ({"steps": (5, 41)}, r"SOLVER.STEPS: \[5, 41\] does not start at 0"),
        ({"steps": (0, 49, 41)}, r"SOLVER.STEPS: \[0, 49, 41\] does not rise"),
        ({"steps": (0, 41, 41)}, r"SOLVER.STEPS: \[0, 41, 41\] does not rise"),
        ({"lrs": (1, 0.1)}, r"SOLVER.LRS: 2 rates for the 3 SOLVER.STEPS"),
    ],
)
def test_a_schedule_that_contradicts_itself_is_one_line_that_names_the_key(changes, message):
    solver = replace(STEPS if {"steps", "lrs"} & set(changes) else COSINE, **changes)
    with pytest.raises(UserError, match=message):
        learning_rate(solver, 1.0)


class TinyNet(nn.Module):
    """Layers of each kind, in an order that tells grouping from order of definition."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv3d(3, 4, 1)
        self.norm = nn.BatchNorm3d(4)
        self.scale = nn.Parameter(torch.ones(4))
        self.instance = nn.InstanceNorm3d(4, affine=True)
        self.layer_norm = nn.LayerNorm(4)
        self.head = nn.Linear(4, 2)


SOLVER = SolverSettings(base_lr=0.1, max_epoch=1, bn_weight_decay=0.01, weight_decay=1e-4)


def groups_of(model: nn.Module, solver: SolverSettings) -> list[tuple[list[str], float]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(model, solver)
    return [
        ([names[id(p)] for p in group["params"]], group["weight_decay"])
        for group in optimizer.param_groups
    ]


BATCH_NORM = ["norm.weight", "norm.bias", "instance.weight", "instance.bias"]


def test_groups_are_normalisation_then_the_rest_in_the_order_of_modules():
    rest = ["scale", "first.weight", "first.bias", "layer_norm.weight", "layer_norm.bias"]
    expected = [(BATCH_NORM, 0.01), ([*rest, "head.weight", "head.bias"], 1e-4)]
    assert groups_of(TinyNet(), SOLVER) == expected


def test_zero_wd_1d_takes_one_dimensional_parameters_out_of_the_decay():
    undecayed = ["scale", "first.bias", "layer_norm.weight", "layer_norm.bias", "head.bias"]
    expected = [(BATCH_NORM, 0.01), (["first.weight", "head.weight"], 1e-4), (undecayed, 0.0)]
    assert groups_of(TinyNet(), replace(SOLVER, zero_wd_1d=True)) == expected


def test_empty_groups_and_frozen_parameters_are_left_out():
    model = TinyNet()
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith("head")
    assert groups_of(model, SOLVER) == [(["head.weight", "head.bias"], 1e-4)]


def test_an_optimizer_state_moves_to_another_optimizer_of_the_same_model():
    model = TinyNet()
    optimizer = build_optimizer(model, SOLVER)
    sum(p.square().sum() for p in model.parameters()).backward()
    optimizer.step()
    other = build_optimizer(model, SOLVER)
    other.load_state_dict(optimizer.state_dict())
    for parameter in model.parameters():
        assert torch.equal(
            other.state[parameter]["momentum_buffer"], optimizer.state[parameter]["momentum_buffer"]
        )


@pytest.mark.parametrize(
    ("method", "kind", "defaults"),
    [
        ("sgd", torch.optim.SGD, {"momentum": 0.9, "dampening": 0.0, "nesterov": True}),
        ("adam", torch.optim.Adam, {"betas": (0.9, 0.999), "eps": 1e-8}),
        ("adamw", torch.optim.AdamW, {"betas": (0.9, 0.999), "eps": 1e-8}),
    ],
)
def test_each_method_has_slowfasts_constants(method, kind, defaults):
    optimizer = build_optimizer(TinyNet(), replace(SOLVER, method=method))
    assert type(optimizer) is kind
    for group in optimizer.param_groups:
        assert group["lr"] == 0.1
        assert {key: group[key] for key in defaults} == defaults


def test_set_learning_rate_reaches_every_group():
    optimizer = build_optimizer(TinyNet(), SOLVER)
    set_learning_rate(optimizer, 0.007)
    assert [group["lr"] for group in optimizer.param_groups] == [0.007, 0.007]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "adamv"}, "SOLVER.OPTIMIZING_METHOD: unknown method 'adamv'; known: adam"),
        ({"momentum": 0.0}, "SOLVER.NESTEROV: True needs SOLVER.MOMENTUM above 0"),
        ({"dampening": 0.1}, "SOLVER.NESTEROV: True needs .* not 0.9 and 0.1"),
    ],
)
def test_a_wrong_optimizer_is_one_line_that_names_the_key(changes, message):
    with pytest.raises(UserError, match=message):
        build_optimizer(TinyNet(), replace(SOLVER, **changes))

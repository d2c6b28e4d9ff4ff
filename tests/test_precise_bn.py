"""Precise batch norm gives the statistics of the batches together, and changes nothing else."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from actionrec.engine.precise_bn import update_batch_norm

BATCHES = [torch.randn(size, 3, 2, 4, 4, dtype=torch.float64) * 2 + 5 for size in (4, 4, 2)]


def model_with_norm() -> nn.Module:
    return nn.Sequential(nn.Conv3d(3, 3, 1), nn.BatchNorm3d(3)).double()


def written_out(model: nn.Module, batches: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and (biased) variance per channel over all inputs of the norm, in one go."""
    inputs = torch.cat([model[0](batch) for batch in batches]).transpose(0, 1).flatten(1)
    return inputs.mean(1), inputs.var(1, unbiased=False)


@pytest.mark.parametrize(("asked", "used"), [(2, 2), (3, 3), (200, 3)])
def test_statistics_are_those_of_the_batches_that_were_run(asked, used):
    model = model_with_norm()
    assert update_batch_norm(model, BATCHES, asked) == used
    mean, variance = written_out(model, BATCHES[:used])
    torch.testing.assert_close(model[1].running_mean, mean)
    torch.testing.assert_close(model[1].running_var, variance)


def test_weights_mode_and_momentum_stay():
    model = model_with_norm()
    before = [parameter.clone() for parameter in model.parameters()]
    update_batch_norm(model, iter(BATCHES), 2)
    assert all(map(torch.equal, before, model.parameters()))
    assert model.training
    assert model[1].momentum == 0.1
    model(BATCHES[0])  # no hook was left


@pytest.mark.parametrize("asked", [0, 5])
def test_a_model_without_batch_norm_or_without_batches_is_left_alone(asked):
    assert update_batch_norm(nn.Conv3d(3, 3, 1).double(), BATCHES, asked) == 0
    assert update_batch_norm(model_with_norm(), [], asked) == 0


def test_frozen_statistics_stay():
    model = model_with_norm()
    model[1].eval()
    assert update_batch_norm(model, BATCHES, 3) == 0
    assert torch.equal(model[1].running_mean, torch.zeros(3, dtype=torch.float64))

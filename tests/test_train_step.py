"""One optimizer step, held against the same arithmetic written out."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
from tiny_run import NUM_CLASSES, Tiny, make_settings
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce

import losses
from actionrec.engine.mixing import Mixing
from actionrec.engine.optimizer import build_optimizer
from actionrec.engine.train_step import Place, TrainStep
from actionrec.errors import UserError
from actionrec.models.precision import Precision
from actionrec.models.video_model import VideoModel
from actionrec.types import Batch, InputSettings

IDS = tuple(f"CLIP{n}" for n in range(8))
PLACE = Place(epoch=0, step=3, total_step=3, lr=0.1)


class Plain(nn.Module):
    """Without batch norm and dropout: a batch in parts gives what the whole gives."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 8, 1)
        self.head = nn.Linear(8, NUM_CLASSES)

    def forward(self, pathways):
        return self.head(self.conv(pathways[0]).tanh().mean((2, 3, 4)))


def batch(num_clips=6):
    draw = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (num_clips, 4, 8, 8, 3), generator=draw, dtype=torch.uint8)
    targets = (torch.rand(num_clips, NUM_CLASSES, generator=draw) < 0.4).float()
    return Batch(frames, targets, torch.arange(num_clips))


def step_of(clips, tmp_path, backbone=Plain, precision="float32", solver=(), **train):
    settings = make_settings(clips, tmp_path)
    settings = dataclasses.replace(
        settings,
        train=dataclasses.replace(settings.train, **train),
        solver=dataclasses.replace(settings.solver, method="sgd", **dict(solver)),
    )
    torch.manual_seed(0)
    model = VideoModel(backbone(), InputSettings(), Precision(precision)).train()
    optimizer = build_optimizer(model.backbone, settings.solver)
    return TrainStep(settings, model, losses.build("bce_loss"), optimizer, IDS)


def weights(step):
    return {name: p.detach().clone() for name, p in step.model.backbone.named_parameters()}


def test_the_loss_and_the_update_are_those_written_out(clips, tmp_path):
    step, data = step_of(clips, tmp_path, solver={"momentum": 0.0, "nesterov": False}), batch()
    model = copy.deepcopy(step.model)
    loss = bce(model(data.frames), data.targets)
    loss.backward()
    assert step.take(data, PLACE) == pytest.approx(loss.item(), rel=1e-6)
    decay = step.settings.solver.weight_decay
    for after, (name, before) in zip(
        weights(step).values(), model.backbone.named_parameters(), strict=True
    ):
        expected = before - PLACE.lr * (before.grad + decay * before)
        torch.testing.assert_close(after, expected, msg=name)


@pytest.mark.parametrize("parts", [2, 3, 4, 6, 9])
def test_a_batch_in_parts_is_the_same_step(clips, tmp_path, parts):
    whole, divided = step_of(clips, tmp_path), step_of(clips, tmp_path, accumulate=parts)
    assert divided.take(batch(), PLACE) == pytest.approx(whole.take(batch(), PLACE), rel=1e-6)
    for one, other in zip(weights(whole).values(), weights(divided).values(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("key", ["clip_norm", "clip_value"])
def test_gradients_are_clipped_as_torch_clips_them(clips, tmp_path, key):
    limit = 0.01
    step = step_of(clips, tmp_path, solver={key: limit})
    model, data = copy.deepcopy(step.model), batch()
    bce(model(data.frames), data.targets).backward()
    if key == "clip_norm":
        assert nn.utils.clip_grad_norm_(model.parameters(), limit) > limit
    else:
        nn.utils.clip_grad_value_(model.parameters(), limit)
    step.take(data, PLACE)
    for ours, theirs in zip(step.model.parameters(), model.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_16_bits_train_too(clips, tmp_path, precision):
    step = step_of(clips, tmp_path, precision=precision)
    before, losses_seen = weights(step), [step.take(batch(), PLACE) for _ in range(30)]
    assert losses_seen[-1] < losses_seen[0]
    assert any(not torch.equal(before[name], after) for name, after in weights(step).items())


def test_an_overflow_of_fp16_is_the_scalers_business(clips, tmp_path):
    step = step_of(clips, tmp_path, precision="fp16")
    scaler = step.model.precision.scaler
    scaler.load_state_dict({**scaler.state_dict(), "scale": 2.0**126})
    before = weights(step)
    assert step.take(batch(), PLACE) is not None and step.skipped == 0
    assert all(torch.equal(before[name], after) for name, after in weights(step).items())
    assert scaler.get_scale() == 2.0**125


class Infinite(Plain):
    """A finite loss whose gradient is not."""

    def forward(self, pathways):
        logits = super().forward(pathways)
        logits.register_hook(lambda gradient: gradient * float("inf"))
        return logits


@pytest.mark.parametrize("allowed", [0, 2])
def test_a_gradient_that_is_not_finite_stops_or_is_counted(clips, tmp_path, allowed, caplog):
    step = step_of(clips, tmp_path, backbone=Infinite, skip_nonfinite=allowed)
    before = weights(step)
    for _ in range(allowed):
        assert step.take(batch(), PLACE) is None
    assert len(caplog.messages) == allowed
    named = "norm of the gradient is (nan|inf) at epoch 1, step 3, learning rate 0.1, loss bce_loss"
    with pytest.raises(UserError, match=f"{named}, clips CLIP0, CLIP1, .*SOLVER.BASE_LR"):
        step.take(batch(), PLACE)
    assert all(torch.equal(before[name], after) for name, after in weights(step).items())


def test_a_batch_without_a_readable_clip_is_no_step(clips, tmp_path):
    step = step_of(clips, tmp_path, backbone=Tiny)
    before = weights(step)
    assert step.take(None, PLACE) is None and step.skipped == 0
    assert all(torch.equal(before[name], after) for name, after in weights(step).items())


def test_fp16_without_a_scale_that_works_is_told(clips, tmp_path):
    step = step_of(clips, tmp_path, backbone=Infinite, precision="fp16")
    with pytest.raises(
        UserError, match="norm of the gradient, at any scale, is (nan|inf) at epoch"
    ):
        for _ in range(20):  # from 2 ** 16, halved each time
            assert step.take(batch(), PLACE) is not None


class NotANumber(Plain):
    def forward(self, pathways):
        return super().forward(pathways) * float("nan")


def test_a_step_that_is_left_out_leaves_the_state_of_the_loss_alone(clips, tmp_path):
    step = step_of(clips, tmp_path, backbone=NotANumber, skip_nonfinite=1)
    step = TrainStep(
        step.settings,
        step.model,
        losses.build("EQLv2", class_counts=[5] * NUM_CLASSES),
        step.optimizer,
        IDS,
    )
    assert step.take(batch(), PLACE) is None
    assert all(not value.any() for value in step.criterion.state_dict().values())


def test_framestack_learns_nothing_from_a_step_that_is_left_out(clips, tmp_path):
    mixing = Mixing("framestack", 1.0, batch(8).targets.numpy())
    plain = step_of(clips, tmp_path, backbone=NotANumber, skip_nonfinite=1)
    step = TrainStep(
        plain.settings, plain.model, losses.build("bce_loss"), plain.optimizer, IDS, mixing
    )
    assert step.take(batch(), PLACE) is None
    assert not mixing.state_dict()["sums"].any()

"""16 bits where they are safe: what stays float32, and that scores stay those of the model."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from actionrec.models.precision import Precision
from actionrec.models.video_model import VideoModel
from actionrec.types import InputSettings


class Head(nn.Module):
    """As SlowFast's: logits in training, sigmoids in evaluation."""

    def __init__(self):
        super().__init__()
        self.projection = nn.Linear(8, 5)

    def forward(self, inputs):
        logits = self.projection(inputs[0].mean((2, 3, 4)))
        return logits if self.training else logits.sigmoid()


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 8, 3, padding=1)
        self.head = Head()
        self.seen = []

    def forward(self, pathways):
        self.seen.append((pathways[0], x := self.conv(pathways[0])))
        return self.head([x])


FRAMES = torch.from_numpy(
    np.random.default_rng(0).integers(0, 256, (6, 4, 8, 8, 3), dtype=np.uint8)
)


def models(name):
    torch.manual_seed(0)
    backbone = Backbone()
    plain = VideoModel(copy.deepcopy(backbone), InputSettings(alpha=None))
    return plain, VideoModel(backbone, InputSettings(alpha=None), Precision(name))


@pytest.mark.parametrize(("name", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)])
def test_convolutions_run_in_16_bits_and_the_head_in_32(name, dtype):
    plain, model = models(name)
    for training in (True, False):
        plain.train(training), model.train(training)
        scores = model(FRAMES)
        pixels, features = model.backbone.seen[-1]
        assert pixels.is_contiguous(memory_format=torch.channels_last_3d)
        assert features.dtype == dtype and scores.dtype == torch.float32
        # No score is a 16-bit number made longer: those would tie where the model's do not.
        assert (scores != scores.to(dtype).float()).float().mean() > 0.9
        torch.testing.assert_close(scores, plain(FRAMES), rtol=0, atol=0.02)


def test_names_weights_and_gradients_stay_float32():
    plain, model = models("bf16")
    assert list(model.backbone.state_dict()) == list(plain.backbone.state_dict())
    model(FRAMES).square().sum().backward()
    plain(FRAMES).square().sum().backward()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert ours.dtype == ours.grad.dtype == torch.float32
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=0.05, atol=0.05)


def test_float32_changes_nothing():
    plain, model = models("float32")
    assert torch.equal(model(FRAMES), plain(FRAMES))
    assert not model.precision.scaler.is_enabled() and not model.precision.scaler.state_dict()
    assert model.backbone.seen[-1][0].is_contiguous()


def test_the_slow_pathway_is_laid_out_alike():
    model = VideoModel(nn.Linear(1, 1), InputSettings(alpha=2), Precision("bf16"))
    for pathway in model.input(FRAMES):
        assert pathway.is_contiguous(memory_format=torch.channels_last_3d)

"""The second stage of two-stage training: a new last layer on a backbone that stays as it is."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from tiny_run import Tiny, make_settings, same, weights
from torch import nn

from actionrec.engine import checkpoint
from actionrec.engine.run import run
from actionrec.errors import UserError
from actionrec.models.video_model import VideoModel, last_linear
from actionrec.types import InputSettings, LossSettings, SolverSettings


@pytest.fixture(scope="module")
def first_stage(clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    run(make_settings(clips, folder, solver=SolverSettings(0.2, 2)), Tiny)
    return checkpoint.checkpoint_path(folder, 2)


def second_stage(clips, output_dir, first_stage, **train):
    settings = make_settings(clips, output_dir, solver=SolverSettings(0.2, 2))
    settings = dataclasses.replace(
        settings,
        loader=dataclasses.replace(settings.loader, sampler="class_balanced"),
        train=dataclasses.replace(
            settings.train, checkpoint=first_stage, head_only=True, new_head=True, **train
        ),
    )
    run(settings, Tiny)
    return weights(output_dir, 2)


def test_all_but_the_last_layer_stays_as_the_first_stage_left_it(clips, tmp_path, first_stage):
    before = checkpoint.load_checkpoint(first_stage)["model_state"]
    after = second_stage(clips, tmp_path, first_stage)
    changed = [name for name in before if not torch.equal(before[name], after[name])]
    assert changed == ["head.weight", "head.bias"]
    log = (tmp_path / "stdout.log").read_text()
    assert "not in the file, start anew: head.weight, head.bias" in log
    assert "TRAIN.SAMPLER class_balanced: an epoch draws 18 times from 18 clips" in log
    assert (
        len(
            checkpoint.load_checkpoint(checkpoint.checkpoint_path(tmp_path, 2))["optimizer_state"][
                "param_groups"
            ]
        )
        == 1
    )


def test_the_new_layer_follows_from_the_seed_and_not_from_the_first_stage(
    clips, tmp_path, first_stage
):
    state = checkpoint.load_checkpoint(first_stage)
    state["model_state"]["head.weight"] += 1.0
    checkpoint.save_checkpoint(tmp_path / "other.pyth", state)
    one = second_stage(clips, tmp_path / "a", first_stage)
    assert same(one, second_stage(clips, tmp_path / "b", tmp_path / "other.pyth"))


def test_a_prefix_of_the_files_names_does_not_bring_the_old_layer_back(
    clips, tmp_path, first_stage
):
    state = checkpoint.load_checkpoint(first_stage)
    state["model_state"] = {f"module.{n}": w for n, w in state["model_state"].items()}
    checkpoint.save_checkpoint(tmp_path / "prefixed.pyth", state)
    one = second_stage(clips, tmp_path / "a", first_stage)
    other = second_stage(
        clips, tmp_path / "b", tmp_path / "prefixed.pyth", clear_name_pattern=("module.",)
    )
    assert same(one, other)


class Net(nn.Module):
    """Batch norm and dropout before the head, batch norm in it, as X3D has."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.Dropout(0.5))
        self.head = nn.Sequential(nn.BatchNorm3d(4), nn.AdaptiveAvgPool3d(1), nn.Flatten())
        self.head.add_module("dropout", nn.Dropout(0.5))
        self.head.add_module("projection", nn.Linear(4, 3))

    def forward(self, pathways):
        return self.head(self.stem(pathways[0]))


def test_statistics_and_dropout_stop_and_the_heads_own_dropout_goes_on():
    model = VideoModel(Net(), InputSettings())
    assert last_linear(model.backbone, 3)[0] == "head.projection"
    model.train_last_layer_alone(3)
    for mode in (True, False, True):
        model.train(mode)
        training = {name for name, m in model.backbone.named_modules() if name and m.training}
        in_head = {"head", "head.1", "head.2", "head.dropout", "head.projection"}
        assert {n.replace("head.0", "") for n in training} <= in_head | {"head.1", "head.2"}
        assert ("head.dropout" in training) is mode and "stem.2" not in training
        assert "stem.1" not in training and "head.0" not in training
    trained = [name for name, p in model.backbone.named_parameters() if p.requires_grad]
    assert trained == ["head.projection.weight", "head.projection.bias"]


def test_a_model_without_a_linear_layer_cannot_train_one():
    model = VideoModel(nn.Sequential(nn.Conv3d(3, 4, 1)), InputSettings())
    with pytest.raises(UserError, match="MODEL.ARCH: this model has no linear layer of 3 outputs"):
        model.train_last_layer_alone(3)


@pytest.mark.parametrize("loss", ["two_way", "cross_entropy"])
def test_targets_between_0_and_1_need_a_loss_that_takes_them(clips, tmp_path, loss):
    settings = make_settings(clips, tmp_path, loss=LossSettings(loss))
    mixed = dataclasses.replace(settings.train, mix="mixup")
    with pytest.raises(UserError, match=f"MODEL.LOSS_FUNC: {loss} has no meaning for the targets"):
        run(dataclasses.replace(settings, train=mixed), Tiny)

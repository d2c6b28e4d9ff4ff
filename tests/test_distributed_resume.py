"""Several processes that start from files: the same weights in all, and the same bits again."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import sys

import pytest
from processes import in_processes, launched, wait_for_steps
from tiny_run import NUM_CLASSES, Tiny, changed, make_settings, same
from torch import nn

from actionrec import launched as launched_as
from actionrec.engine import checkpoint
from actionrec.engine.run import run
from actionrec.errors import UserError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


class Deep(nn.Module):
    """Many layers, so that the order in which gradients meet could change at a resume."""

    def __init__(self):
        super().__init__()
        layers = [nn.Conv3d(3, 16, 1)]
        for _ in range(12):
            layers += [nn.BatchNorm3d(16), nn.Tanh(), nn.Conv3d(16, 16, 1)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(16, NUM_CLASSES)

    def forward(self, pathways):
        logits = self.head(self.body(pathways[0]).mean((2, 3, 4)))
        return logits if self.training else logits.sigmoid()


def train(clips, out, model, *assignments):
    settings = changed(make_settings(clips, out), "test.enable=false", *assignments)
    run(settings, model)


def test_three_processes_go_on_to_the_same_bits(clips, tmp_path):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    in_processes(3, train, clips, whole, Deep)
    (resumed / "checkpoints").mkdir(parents=True)
    shutil.copy(checkpoint.checkpoint_path(whole, 2), resumed / "checkpoints")
    in_processes(3, train, clips, resumed, Deep)
    one, other = (
        checkpoint.load_checkpoint(checkpoint.checkpoint_path(out, 6)) for out in (whole, resumed)
    )
    assert same(one["model_state"], other["model_state"])
    for name, state in one["optimizer_state"]["state"].items():
        assert same(state, other["optimizer_state"]["state"][name])


def scored_with(clips, out, weights):
    settings = make_settings(clips, out)
    settings = dataclasses.replace(
        settings,
        train=dataclasses.replace(settings.train, enable=False),
        test=dataclasses.replace(settings.test, checkpoint=weights[launched_as.rank()]),
    )
    try:
        run(settings, Tiny)
    except UserError as error:
        return str(error)
    return ""


def test_other_weights_under_the_same_name_are_refused(clips, tmp_path):
    weights = []
    for seed in (0, 1):
        train(clips, tmp_path / f"{seed}", Tiny, f"seed={seed}", "solver.max_epoch=1")
        weights.append(checkpoint.checkpoint_path(tmp_path / f"{seed}", 1))
    said = in_processes(2, scored_with, clips, tmp_path / "out", weights)
    assert said[0] == said[1]
    assert said[0].startswith("checkpoint: process 0 has checkpoint_epoch_00001.pyth, sha256 ")
    assert in_processes(2, scored_with, clips, tmp_path / "out", weights[:1] * 2) == ["", ""]


def test_a_save_that_fails_is_not_reported_as_saved(clips, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "checkpoints").write_text("no folder\n")
    program = launched(
        clips,
        out,
        "log_period=1",
        "solver.max_epoch=500",
        "train.eval_period=999",
        "train.checkpoint_period=999",
        "train.precise_bn_batches=0",
    )
    assert wait_for_steps(program, out, 2)
    program.send(signal.SIGUSR1)
    assert program.wait() == 2  # a batch script would start 75 again, for ever
    assert "not saved" in "\n".join(program.errors()), program.all_errors()

"""Training under numbers that are not finite, no network, a clock that jumps, and python -O."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import time

import pytest
import torch
from interrupted_runs import console, differences, end_of, log, settings_of, start_program
from tiny_run import Tiny

from actionrec.engine import checkpoint
from actionrec.engine.run import run
from actionrec.engine.train_step import TrainStep
from actionrec.errors import UserError

POISONS = ("nan loss", "inf loss", "inf gradient")


class Poisoned(Tiny):
    """The steps of these numbers, in training, go wrong as `kind` says."""

    def __init__(self, kind, steps):
        super().__init__()
        self.kind, self.steps = kind, steps

    def forward(self, pathways):
        if not (self.training and Poisoned.at in self.steps and torch.is_grad_enabled()):
            return super().forward(pathways)
        if self.kind == "nan loss":  # of frames that overflow: batch norm sees them too
            return super().forward([pathways[0] * float("nan")])
        logits = super().forward(pathways)
        if self.kind == "inf loss":
            return logits + float("inf")
        logits.register_hook(lambda grad: grad * float("inf"))
        return logits


@pytest.fixture
def steps_are_known(monkeypatch):
    take = TrainStep.take

    def numbered(self, batch, place):
        Poisoned.at = place.total_step
        return take(self, batch, place)

    monkeypatch.setattr(TrainStep, "take", numbered)


@pytest.fixture(scope="module")
def undisturbed(clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run(settings_of(clips, folder), Tiny)
    return end_of(folder)


@pytest.mark.parametrize("kind", [pytest.param(k, id=f"E1-{k.replace(' ', '-')}") for k in POISONS])
def test_a_step_that_is_not_finite_ends_the_run_with_all_that_is_known(
    clips, tmp_path, steps_are_known, kind
):
    with pytest.raises(UserError) as caught:
        run(settings_of(clips, tmp_path), lambda: Poisoned(kind, [7]))
    message = str(caught.value)
    assert "at epoch 3, step 1, learning rate 0.0336" in message and "\n" not in message
    assert "loss bce_loss" in message and message.count("TRAIN") == 6  # the ids of the batch
    assert message.startswith("the norm of the gradient" if kind == "inf gradient" else "bce_loss")
    found = checkpoint.find_resume(tmp_path)
    assert found.torn == {} and found.path.name == "checkpoint_epoch_00002.pyth"
    assert all(torch.isfinite(v).all() for v in found.state["model_state"].values())


@pytest.mark.parametrize("kind", [pytest.param(k, id=f"E1-{k.replace(' ', '-')}") for k in POISONS])
def test_steps_that_may_be_left_out_are_counted_over_a_resume_and_leave_no_trace(
    clips, tmp_path, steps_are_known, kind
):
    settings = settings_of(
        clips, tmp_path, "train.skip_nonfinite=3", "train.precise_bn_batches=0",
        "train.checkpoint_steps=1",
    )  # fmt: skip
    with pytest.raises(UserError, match="after 3 others .TRAIN.SKIP_NONFINITE"):
        run(settings, lambda: Poisoned(kind, [2, 7, 8, 10]))
    with pytest.raises(UserError, match="after 3 others .TRAIN.SKIP_NONFINITE"):
        run(settings, lambda: Poisoned(kind, [11]))  # the count goes on
    assert "step 3 of TRAIN.SKIP_NONFINITE 3 left out: " in log(tmp_path)
    run(settings, Tiny)
    end = end_of(tmp_path)
    assert end["skipped"] == 3
    assert [row["nonfinite_steps"] for row in end["metrics.csv"]] == list("113333")
    assert all(torch.isfinite(v).all() for v in end["last model_state"].values())


def test_E5_the_same_seed_gives_the_same_run_and_another_seed_another(clips, tmp_path, undisturbed):
    for name, seed in (("same", 0), ("other", 1)):
        run(settings_of(clips, tmp_path / name, f"seed={seed}"), Tiny)
    assert differences(end_of(tmp_path / "same"), undisturbed) == []
    assert differences(end_of(tmp_path / "other"), undisturbed) != []


def test_E6_a_run_needs_no_network(clips, tmp_path, undisturbed):
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rn", "true"]).returncode:
        pytest.skip("unshare -rn is not allowed here")
    python = ("unshare", "-rn", sys.executable)
    assert start_program(clips, tmp_path / "out", python=python).wait(60) == 0
    assert differences(end_of(tmp_path / "out"), undisturbed) == []


def test_E7_a_clock_that_jumps_back_changes_nothing(clips, tmp_path, monkeypatch, undisturbed):
    real, jumps = time.time, itertools.count()
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: real() - 86_400 * (next(jumps) % 3))
        run(settings_of(clips, tmp_path), Tiny)
    assert differences(end_of(tmp_path), undisturbed) == []
    assert next(jumps) > 0


@pytest.mark.slow  # Python compiles all of torch anew where it may not keep the result
def test_E9_python_without_asserts_gives_the_same(clips, tmp_path, undisturbed):
    out = tmp_path / "out"
    assert start_program(clips, out, python=(sys.executable, "-O")).wait(60) == 0, console(out)
    assert differences(end_of(out), undisturbed) == []


def test_G13_a_resume_of_a_finished_run_trains_nothing_and_succeeds(clips, tmp_path, undisturbed):
    settings = settings_of(clips, tmp_path)
    run(settings, Tiny)
    before = checkpoint.checkpoint_path(tmp_path, 6).stat().st_mtime_ns
    run(settings, Tiny)
    assert checkpoint.checkpoint_path(tmp_path, 6).stat().st_mtime_ns == before
    assert log(tmp_path).count('"train_epoch"') == 6
    assert differences(end_of(tmp_path), undisturbed) == []

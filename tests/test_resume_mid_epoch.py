"""A run that is stopped anywhere and started again ends bit-identical: no step lost or repeated."""

from __future__ import annotations

import dataclasses
import os
import signal

import pytest
from interrupted_runs import EPOCHS, STEPS, differences, end_of, log, settings_of
from tiny_run import Tiny

from actionrec.data import batching
from actionrec.engine import train, validate
from actionrec.engine.run import run
from actionrec.engine.train_step import TrainStep
from actionrec.errors import Stopped
from actionrec.types import LossSettings

LAST = EPOCHS * STEPS - 1
LDAM = LossSettings("LDAM", {"drw_epoch": 3})


@pytest.fixture(scope="module")
def undisturbed(clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run(settings_of(clips, folder), Tiny)
    return end_of(folder)


def stop_self(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


def stop_in_step(patch, steps, number=signal.SIGTERM):
    """A signal comes while the steps of these numbers are being taken."""
    take = TrainStep.take

    def signalled(self, batch, place):
        if place.total_step in steps:
            stop_self(number)
        return take(self, batch, place)

    patch.setattr(TrainStep, "take", signalled)


def stop_in_batches(patch, module, function, at):
    """A signal comes while `function` takes its batch number `at`, counted over all its calls."""
    work, calls = getattr(module, function), iter(range(1000))

    def signalled(model, batches, *rest):
        def watched():
            for batch in batches:
                if next(calls) == at:
                    stop_self()
                yield batch

        return work(model, watched(), *rest)

    patch.setattr(module, function, signalled)


def stop_and_resume(settings, monkeypatch, arrange, status=143):
    with monkeypatch.context() as patch, pytest.raises(Stopped) as stopped:
        arrange(patch)
        run(settings, Tiny)
    assert stopped.value.exit_code == status
    run(settings, Tiny)
    return end_of(settings.output_dir)


# Those between the first epoch and the last step are slow: they are many, and alike.
STOPS = [
    pytest.param(n, id=f"E3-step-{n}", marks=[pytest.mark.slow] if STEPS < n < LAST else [])
    for n in range(LAST + 1)
]


@pytest.mark.parametrize("step", STOPS)
def test_a_stop_at_any_step_changes_nothing(clips, tmp_path, monkeypatch, undisturbed, step):
    settings = settings_of(clips, tmp_path)
    end = stop_and_resume(settings, monkeypatch, lambda p: stop_in_step(p, [step]))
    assert differences(end, undisturbed) == []
    assert f"epoch {step // STEPS + 1} after step {step % STEPS + 1}" in log(tmp_path)


@pytest.mark.parametrize("batch", [0, 4, EPOCHS * STEPS - 1], ids=lambda n: f"E3-batch-{n}")
@pytest.mark.parametrize(
    ("module", "function"), [(train, "update_batch_norm"), (validate, "score_clips")]
)
def test_a_stop_in_batch_norm_or_validation_changes_nothing(
    clips, tmp_path, monkeypatch, undisturbed, module, function, batch
):
    end = stop_and_resume(
        settings_of(clips, tmp_path),
        monkeypatch,
        lambda p: stop_in_batches(p, module, function, batch),
    )
    assert differences(end, undisturbed) == []


def test_a_stop_at_every_step_changes_nothing(clips, tmp_path, monkeypatch, undisturbed):
    settings = settings_of(clips, tmp_path, "train.checkpoint_steps=1", "train.keep_checkpoints=1")
    stop_in_step(monkeypatch, range(LAST + 1), signal.SIGUSR1)
    for _ in range(LAST + 1):
        with pytest.raises(Stopped) as stopped:
            run(settings, Tiny)
        assert stopped.value.exit_code == 75
    run(settings, Tiny)
    assert differences(end_of(tmp_path), undisturbed) == []


def with_workers(clips, output_dir, workers, patch):
    """Settings for so many workers, however few cores there are."""
    patch.setattr(batching, "_num_workers", lambda wanted: wanted)
    return settings_of(clips, output_dir, f"loader.num_workers={workers}")


@pytest.mark.filterwarnings("ignore:This DataLoader will create 4 worker processes")
@pytest.mark.parametrize("before", [0, 1, 2, 4], ids=lambda n: f"E5-workers-{n}")
def test_the_number_of_workers_may_change_at_a_stop(
    clips, tmp_path, monkeypatch, undisturbed, before
):
    settings = with_workers(clips, tmp_path, before, monkeypatch)
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_in_step(patch, [4])
        run(settings, Tiny)
    run(with_workers(clips, tmp_path, 2 if before == 0 else before, monkeypatch), Tiny)
    assert differences(end_of(tmp_path), undisturbed) == []


VARIANTS = {
    "drw": lambda s: dataclasses.replace(s, loss=LDAM),
    "plateau": lambda s: dataclasses.replace(
        s, solver=dataclasses.replace(s.solver, policy="plateau", plateau_patience=1)
    ),
    "accumulate": lambda s: dataclasses.replace(
        s, train=dataclasses.replace(s.train, accumulate=2)
    ),
    "mixup": lambda s: dataclasses.replace(s, train=dataclasses.replace(s.train, mix="mixup")),
    "framestack": lambda s: dataclasses.replace(
        s, train=dataclasses.replace(s.train, mix="framestack")
    ),
    "sampler": lambda s: dataclasses.replace(
        s, loader=dataclasses.replace(s.loader, sampler="class_balanced")
    ),
    "repeats": lambda s: dataclasses.replace(
        s, loader=dataclasses.replace(s.loader, sampler="repeat_factor", repeat_threshold=0.9)
    ),
    "EQLv2": lambda s: dataclasses.replace(s, loss=LossSettings("EQLv2")),
    "ASL with drw": lambda s: dataclasses.replace(s, loss=LossSettings("ASL", {"drw_epoch": 3})),
    "fp16": lambda s: dataclasses.replace(s, precision="fp16"),
    "bf16": lambda s: dataclasses.replace(s, precision="bf16"),
    "adamw": lambda s: dataclasses.replace(s, solver=dataclasses.replace(s.solver, method="adamw")),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_all_state_of_a_run_outlives_stops(clips, tmp_path, monkeypatch, variant):
    """Of the loss, the gradient scaler, the optimizer: stopped before, at and after a change."""
    whole, parts = (
        VARIANTS[variant](settings_of(clips, tmp_path / name)) for name in ("whole", "parts")
    )
    run(whole, Tiny)
    with monkeypatch.context() as patch:
        stop_in_step(patch, [7, 8, 10])
        for _ in range(3):
            with pytest.raises(Stopped):
                run(parts, Tiny)
    run(parts, Tiny)
    assert differences(end_of(tmp_path / "parts"), end_of(tmp_path / "whole")) == []


def test_a_stop_in_the_test_ends_it_and_the_next_start_makes_up_for_it(
    clips, tmp_path, monkeypatch
):
    settings = settings_of(clips, tmp_path, "test.enable=true", "solver.max_epoch=1")
    views = "actionrec.engine.evaluate.view_batches"
    with monkeypatch.context() as patch, pytest.raises(Stopped, match="its test was not finished"):
        patch.setattr(views, lambda *args: stop_self() or iter(()))
        run(settings, Tiny)
    assert not (tmp_path / "results.pkl").exists()
    run(settings, Tiny)
    assert (tmp_path / "results.pkl").exists()

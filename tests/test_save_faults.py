"""A save that is cut off, or refused by the disk, at each of its operations."""

from __future__ import annotations

import errno
import itertools
import os
from collections.abc import Callable

import pytest
import torch
from interrupted_runs import fork, status

from actionrec.engine.checkpoint import best_path, checkpoint_path, find_resume, load_checkpoint
from actionrec.engine.checkpoint_writer import CheckpointWriter
from actionrec.engine.output import remove_leftovers
from actionrec.errors import UserError

KEEP = 2
CALLS = ("open", "mkdir", "replace", "rename", "unlink", "fsync")  # of os, which pathlib uses too


def state_at(epoch, step=0):
    return {
        "epoch": epoch - 1,
        "step": step,
        "model_state": {"weight": torch.full((30, 40), float(epoch))},
        "optimizer_state": {"momentum": torch.full((30, 40), -float(epoch))},
    }


@pytest.fixture
def folder(tmp_path):
    """A run after two epochs and a step, whose next save writes epoch 3 and removes epoch 1."""
    with CheckpointWriter() as writer:
        for epoch, step in ((1, 0), (2, 0), (2, 1)):
            writer.save(checkpoint_path(tmp_path, epoch, step or None), state_at(epoch, step))
    return tmp_path


def before_each_operation(patch, happen: Callable[[int], None]) -> None:
    """happen(n) comes before operation number n, from 0, that changes the disk."""
    numbers = itertools.count()

    def counted(call):
        def wrapped(*args, **kwargs):
            happen(next(numbers))
            return call(*args, **kwargs)

        return wrapped

    for name in CALLS:
        patch.setattr(os, name, counted(getattr(os, name)))

    class File:
        def __init__(self, file):
            self._file = file
            self.write, self.flush = counted(file.write), counted(file.flush)
            self.fileno = file.fileno

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self._file.close()

    open_descriptor = os.fdopen
    # Unbuffered: each write is one of its own.
    patch.setattr(os, "fdopen", lambda number, mode: File(open_descriptor(number, mode, 0)))


def save_next(folder, last=False):
    with CheckpointWriter(KEEP) as writer:
        writer.save(checkpoint_path(folder, 3), state_at(3), last=last)


def num_operations(folder, monkeypatch):
    seen = []
    with monkeypatch.context() as patch:
        before_each_operation(patch, seen.append)
        save_next(folder)
    assert 15 < len(seen) < 100
    return len(seen)


def names(folder):
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def check_recovered(folder):
    """What is there is whole; a new start removes what was begun, and saves as if nothing were."""
    found = find_resume(folder)
    assert found.torn == {} and found.path.name in (
        "checkpoint_epoch_00002_step_000001.pyth",
        "checkpoint_epoch_00003.pyth",
    )
    load_checkpoint(checkpoint_path(folder, 2))
    remove_leftovers(folder)
    save_next(folder)
    assert names(folder) == [
        "checkpoint_epoch_00002.pyth",
        "checkpoint_epoch_00002_step_000001.pyth",
        "checkpoint_epoch_00003.pyth",
    ]
    weights = load_checkpoint(checkpoint_path(folder, 3))["model_state"]["weight"]
    assert torch.equal(weights, torch.full((30, 40), 3.0))


def reset(folder):
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    for epoch, step in ((1, 0), (2, 0), (2, 1)):
        with CheckpointWriter() as writer:
            writer.save(checkpoint_path(folder, epoch, step or None), state_at(epoch, step))


def test_G1_G11_a_crash_before_any_operation_loses_nothing(folder, monkeypatch):
    total = num_operations(folder, monkeypatch)
    for crash in range(total):
        reset(folder)

        def work(crash=crash):
            with monkeypatch.context() as patch:
                before_each_operation(patch, lambda n: n == crash and os._exit(9))
                save_next(folder)

        assert status(fork(work, folder / "console")) == 9, (folder / "console").read_text()
        check_recovered(folder)


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC], ids=["G2-EIO", "G2-ENOSPC"])
@pytest.mark.parametrize("last", [False, True], ids=["within", "at-the-end"])
def test_an_operation_that_fails_leaves_the_older_files(folder, monkeypatch, caplog, code, last):
    outcomes = set()
    for failing in range(num_operations(folder, monkeypatch)):
        reset(folder)
        caplog.clear()

        def fail(number, failing=failing):
            if number == failing:
                raise OSError(code, os.strerror(code))

        message = ""
        with monkeypatch.context() as patch:
            before_each_operation(patch, fail)
            try:
                save_next(folder, last)
            except UserError as error:
                message = str(error)
        warned = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
        assert [n for n in names(folder) if n.endswith(".tmp")] == []
        if not warned and not message:  # it was only to make what is there, or remove what is not
            assert find_resume(folder).path == checkpoint_path(folder, 3)
            continue
        told = message or warned[0]
        assert len(warned) + bool(message) == 1, (failing, warned, message)
        assert os.strerror(code) in told and "\n" not in told
        outcomes.add(("error" if message else "warning", "not saved" in told))
        check_recovered(folder)
    failed = "warning" if code == errno.ENOSPC and not last else "error"
    assert outcomes == {(failed, True), ("warning", False)}  # the other: a file was not removed


def test_G6_training_goes_on_without_a_save_and_the_next_one_tries_again(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with CheckpointWriter(KEEP) as writer:
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            writer.save(checkpoint_path(folder, 3), state_at(3))
            writer.wait()
        assert len(names(folder)) == 3
        writer.save(checkpoint_path(folder, 4), state_at(4))
    assert find_resume(folder).path == checkpoint_path(folder, 4)


def test_G11_the_last_whole_epochs_and_the_best_one_stay(tmp_path):
    with CheckpointWriter(KEEP) as writer:
        writer.save(best_path(tmp_path), state_at(1))
        for epoch in range(1, 6):
            writer.save(checkpoint_path(tmp_path, epoch), state_at(epoch))
            for step in (1, 2, 3):
                writer.save(checkpoint_path(tmp_path, epoch, step), state_at(epoch, step))
    assert names(tmp_path) == [
        "best.pyth",
        "checkpoint_epoch_00004.pyth",
        "checkpoint_epoch_00005.pyth",
        "checkpoint_epoch_00005_step_000002.pyth",
        "checkpoint_epoch_00005_step_000003.pyth",
    ]


def test_G5_pruning_leaves_strangers_alone(tmp_path):
    at = tmp_path / "checkpoints"
    (at / "checkpoint_epoch_00001.pyth").mkdir(parents=True)
    (at / "checkpoint_epoch_00002.pyth").symlink_to(tmp_path / "elsewhere")
    strange = ["checkpoint_epoch_00001.pyth.bak", "checkpoint_epoch_1.pyth", "notes.txt"]
    for name in strange:
        (at / name).write_text("mine")
    with CheckpointWriter(1) as writer:
        for epoch in (3, 4, 5):
            writer.save(checkpoint_path(tmp_path, epoch), state_at(epoch))
    kept = ["checkpoint_epoch_00001.pyth", "checkpoint_epoch_00002.pyth", *strange]
    kept += ["checkpoint_epoch_00004.pyth", "checkpoint_epoch_00005.pyth"]
    assert names(tmp_path) == sorted(kept)

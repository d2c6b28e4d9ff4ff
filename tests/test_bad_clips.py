"""Clips that cannot be read: counted exactly, named, listed, and never another in their place."""

from __future__ import annotations

import csv
import dataclasses
import os
import shutil
import signal

import numpy as np
import pytest
import torch
from tiny_run import Tiny, make_settings, weights

from actionrec.data.annotations import read_clips
from actionrec.data.bad_clips import BadClip, BadClips
from actionrec.data.batching import train_loader, val_loader
from actionrec.data.dataset import TrainDataset, ValDataset
from actionrec.data.decoding import open_source
from actionrec.engine.run import run
from actionrec.errors import Incomplete, SecurityError, UserError
from actionrec.types import LoaderSettings, SolverSettings, TrainSettings


@pytest.fixture
def broken(clips, tmp_path):
    """The clips with two broken ones in training and one in validation."""
    root = tmp_path / "broken"
    shutil.copytree(clips, root)
    for clip_id in ("TRAIN03", "TRAIN11", "VAL05"):
        for frame in (root / "image" / clip_id).iterdir():
            frame.write_bytes(b"no image")
    return root


def listed(output_dir):
    with (output_dir / "bad_clips.csv").open() as file:
        return [(row["annotation"], row["clip_id"]) for row in csv.DictReader(file)]


def settings_of(root, out, **data):
    settings = make_settings(root, out, solver=SolverSettings(base_lr=0.2, max_epoch=2))
    return dataclasses.replace(settings, data=dataclasses.replace(settings.data, **data))


BAD = [("train.csv", "TRAIN03"), ("train.csv", "TRAIN11"), ("val.csv", "VAL05")]


def test_a_run_goes_on_without_them_and_lists_each_once(broken, tmp_path):
    with pytest.raises(Incomplete, match="1 of 9 test clips could not be read, see .*bad_clips"):
        run(settings_of(broken, tmp_path / "out", max_bad_fraction=0.2), Tiny)
    assert sorted(listed(tmp_path / "out")) == BAD
    log = (tmp_path / "out" / "stdout.log").read_text()
    for _, clip_id in BAD:
        assert log.count(f"left out: clip {clip_id}: ") == 1
    assert "validation of 8 of 9 clips" in log and "test of 8 of 9 clips" in log


def test_too_many_end_the_run_with_their_ids(broken, tmp_path):
    with pytest.raises(UserError) as caught:
        run(settings_of(broken, tmp_path / "out", max_bad_fraction=0.1), Tiny)
    *_, last = str(caught.value).splitlines()
    assert "2 of 18 clips of " in last and "DATA.MAX_BAD_FRACTION 0.1: " in last
    assert {"TRAIN03", "TRAIN11"} <= set(last.replace(";", " ").split())


def test_with_the_policy_error_the_first_one_ends_the_run(broken, tmp_path):
    with pytest.raises(UserError, match="clip TRAIN(03|11): "):
        run(settings_of(broken, tmp_path / "out", bad_clips="error", max_bad_fraction=1.0), Tiny)
    assert not (tmp_path / "out" / "bad_clips.csv").exists()


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_other_clips_of_a_batch_are_what_they_would_be(broken, clips, num_workers):  # noqa: F811
    loader = LoaderSettings(train_batch=6, test_batch=4, num_workers=num_workers)
    batches = {}
    for root in (clips, broken):
        data = make_settings(root, root).data
        table = read_clips(root / "annot" / "train.csv", num_classes=3)
        bad = BadClips("skip", 1.0, root / "bad_clips.csv")
        loaded = train_loader(TrainDataset(table, open_source(table, data), data, 0), loader, bad)
        loaded.set_epoch(0)
        batches[root] = list(loaded)
    assert len(batches[broken]) == len(batches[clips])
    for whole, part in zip(batches[clips], batches[broken], strict=True):
        kept = [row for row, clip in enumerate(whole.clips.tolist()) if clip not in (3, 11)]
        assert part.clips.tolist() == whole.clips[kept].tolist()
        assert torch.equal(part.frames, whole.frames[kept])


def test_a_batch_of_bad_clips_alone_is_none_and_training_goes_on(broken, tmp_path):
    settings = settings_of(broken, tmp_path / "out", max_bad_fraction=0.2)
    loader = LoaderSettings(train_batch=1, test_batch=4, num_workers=0)
    run_settings = dataclasses.replace(
        settings, loader=loader, train=TrainSettings(True, precise_bn_batches=18), log_period=1
    )
    with pytest.raises(Incomplete):
        run(run_settings, Tiny)
    assert np.isfinite([t.float().sum() for t in weights(tmp_path / "out", 2).values()]).all()


def test_what_could_do_harm_always_ends_the_run(clips, tmp_path):  # noqa: F811
    table = read_clips(clips / "annot" / "train.csv", num_classes=3)
    bad = BadClips("skip", 1.0, tmp_path / "bad_clips.csv")
    with pytest.raises(SecurityError, match="leads out"):
        bad.add(table, BadClip(0, SecurityError("leads out")))


def test_clips_without_files_count_from_the_start(clips, tmp_path, caplog):  # noqa: F811
    root = tmp_path / "missing"
    shutil.copytree(clips, root)
    shutil.rmtree(root / "image" / "TRAIN07")
    with pytest.raises(UserError, match="1 of 18 clips of .* lack files: TRAIN07"):
        run(settings_of(root, tmp_path / "a", max_bad_fraction=0.01), Tiny)
    run(settings_of(root, tmp_path / "b", max_bad_fraction=0.1), Tiny)
    assert listed(tmp_path / "b") == [("train.csv", "TRAIN07")]
    assert "lack files: TRAIN07" in caplog.text


class Dies(ValDataset):
    def __getitem__(self, clip):
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_worker_that_is_killed_is_one_line(clips, tmp_path):  # noqa: F811
    data = make_settings(clips, clips).data
    table = read_clips(clips / "annot" / "val.csv", num_classes=3)
    loader = LoaderSettings(train_batch=6, test_batch=4, num_workers=1)
    batches = val_loader(Dies(table, open_source(table, data), data), loader)
    with pytest.raises(UserError, match="died or hung .*lower DATA_LOADER.NUM_WORKERS") as caught:
        list(batches)
    assert len(str(caught.value).splitlines()) == 1


def test_a_worker_that_hangs_is_one_line(clips, monkeypatch):  # noqa: F811
    monkeypatch.setattr("actionrec.data.batching.WORKER_TIMEOUT_SEC", 1)

    class Hangs(ValDataset):
        def __getitem__(self, clip):
            signal.pause()

    data = make_settings(clips, clips).data
    table = read_clips(clips / "annot" / "val.csv", num_classes=3)
    loader = LoaderSettings(train_batch=6, test_batch=4, num_workers=1)
    with pytest.raises(UserError, match="died or hung .*timed out"):
        list(val_loader(Hangs(table, open_source(table, data), data), loader))

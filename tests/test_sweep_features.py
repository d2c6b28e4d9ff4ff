"""Heads on cached features: the features are the head's input, and the cache knows of what."""

from __future__ import annotations

import copy
import dataclasses
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from tiny_run import NUM_CLASSES, Tiny, make_settings
from torch import nn

import losses
from actionrec.data.dataset import ValDataset
from actionrec.data.splits import load_splits
from actionrec.errors import UserError
from actionrec.models.video_model import VideoModel
from actionrec.randomness import epoch_order
from actionrec.sweep import heads
from actionrec.sweep.features import Features, HeadInputs, cached_features, features_key
from actionrec.sweep.runs import Run
from actionrec.sweep.sweep_file import HeadSettings
from actionrec.types import InputSettings, LossSettings

HEAD = HeadSettings(epochs=3, batch=4, lr=0.1, method="sgd", weight_decay=0.01)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A Tiny whose weights are nobody's initial ones, and a checkpoint of it."""
    torch.manual_seed(5)
    model = Tiny()
    model.bn.running_mean.normal_()
    path = tmp_path_factory.mktemp("weights") / "tiny.pyth"
    torch.save({"model_state": model.state_dict()}, path)
    return model.eval(), path


@pytest.fixture
def settings(clips, tmp_path):
    return make_settings(clips, tmp_path / "run", config_yaml="DATA: {NUM_FRAMES: 4}\n")


@pytest.fixture
def features(settings, trained, tmp_path):
    return cached_features(
        tmp_path / "features.npz", settings, load_splits(settings), trained[1], Tiny
    )


def frames_of(table, source, settings):
    dataset = ValDataset(table, source, settings.data)
    return torch.stack([torch.from_numpy(dataset[clip].frames) for clip in range(len(dataset))])


def written_out(model, frames, settings):
    with torch.no_grad():
        (pathway,) = VideoModel(model, settings.input).input(frames)
        return model.bn(model.conv(pathway)).relu().mean((2, 3, 4))


def test_the_features_are_the_inputs_of_the_head(settings, trained, features):
    splits = load_splits(settings)
    train = frames_of(splits.train, splits.train_source, settings)
    test = frames_of(splits.val, splits.val_source, settings)
    model = trained[0]
    torch.testing.assert_close(
        torch.from_numpy(features.train), written_out(model, train, settings)
    )
    torch.testing.assert_close(torch.from_numpy(features.test), written_out(model, test, settings))


class Positions(nn.Module):
    """A head as SlowFast's: it is asked at each position, and its answers are averaged."""

    def __init__(self):
        super().__init__()
        self.other = nn.Linear(3, 3)
        self.projection = nn.Linear(3, NUM_CLASSES)
        self.last = nn.Linear(NUM_CLASSES, 2)

    def forward(self, pathways):
        return self.projection(pathways[0].permute(0, 2, 3, 4, 1)).mean((1, 2, 3))


def test_positions_are_averaged_which_a_linear_head_does_not_notice():
    model = Positions()
    frames = torch.randint(0, 256, (2, 4, 6, 5, 3), dtype=torch.uint8)
    inputs = HeadInputs(model, NUM_CLASSES, InputSettings())
    features = inputs(frames)
    assert features.shape == (2, inputs.num_features) == (2, 3)
    expected = VideoModel(model, InputSettings())(frames)
    torch.testing.assert_close(model.projection(features), expected)


def test_a_model_without_such_a_layer_is_refused():
    with pytest.raises(UserError, match="no linear layer of 9 outputs"):
        HeadInputs(Tiny(), 9, InputSettings())


@pytest.mark.parametrize("name", ["bce_loss", "EQLv2", "LDAM"])
def test_a_head_on_the_cache_is_the_head_of_head_only_training(settings, trained, features, name):
    splits = load_splits(settings)
    targets = splits.train.targets(NUM_CLASSES)
    params = {"drw_epoch": 2} if name == "LDAM" else {}
    criterion = losses.build(name, class_counts=targets.sum(0).tolist(), **params)
    cached = heads.train_head(features.train, targets, copy.deepcopy(criterion), HEAD, seed=3)

    model = copy.deepcopy(trained[0])
    frames = frames_of(splits.train, splits.train_source, settings)
    torch.manual_seed(3)
    model.head = nn.Linear(8, NUM_CLASSES)
    nn.init.normal_(model.head.weight, std=0.01)
    nn.init.zeros_(model.head.bias)
    optimizer = torch.optim.SGD(
        model.head.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01
    )
    for epoch in range(3):
        criterion.set_epoch(epoch)
        order = epoch_order(3, epoch, 18)
        for step in range(4):  # of 4 clips; the last two of an epoch are left out
            batch = order[4 * step : 4 * step + 4]
            for group in optimizer.param_groups:
                group["lr"] = 0.05 * (1 + np.cos(np.pi * (epoch + step / 4) / 3))
            logits = model.head(written_out(model, frames[batch], settings))
            optimizer.zero_grad()
            criterion(logits, torch.from_numpy(targets[batch])).backward()
            optimizer.step()
    torch.testing.assert_close(cached.weight, model.head.weight)
    torch.testing.assert_close(cached.bias, model.head.bias)


def test_a_second_start_computes_nothing(settings, trained, features, tmp_path, capsys):
    def refuse():
        raise AssertionError("built again")

    place = tmp_path / "features.npz"
    again = cached_features(place, settings, load_splits(settings), trained[1], refuse)
    assert np.array_equal(again.train, features.train)
    assert np.array_equal(again.test, features.test)
    assert "features from" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["checkpoint", "configuration", "damaged"])
def test_features_of_something_else_are_computed_again(settings, trained, features, tmp_path, what):
    place, (model, path) = tmp_path / "features.npz", trained
    if what == "checkpoint":
        other, path = copy.deepcopy(model), tmp_path / "other.pyth"
        nn.init.ones_(other.conv.weight)
        torch.save({"model_state": other.state_dict()}, path)
    elif what == "configuration":
        bgr = dataclasses.replace(settings.input, bgr=not settings.input.bgr)
        config = "DATA: {REVERSE_INPUT_CHANNEL: False}\n"
        settings = dataclasses.replace(settings, input=bgr, config_yaml=config)
    else:
        place.write_bytes(place.read_bytes()[:-50])
    again = cached_features(place, settings, load_splits(settings), path, Tiny)
    assert np.array_equal(again.train, features.train) == (what == "damaged")
    assert again.key == features_key(settings, path)


def test_what_the_features_do_not_depend_on_is_not_in_their_key(settings, trained):
    def key(config):
        return features_key(dataclasses.replace(settings, config_yaml=config), trained[1])

    config = "{{RNG_SEED: {0}, OUTPUT_DIR: {0}, MODEL: {{LOSS_FUNC: {0}}}, DATA: {{X: {1}}}}}"
    assert key(config.format(1, 1)) == key(config.format(2, 1)) != key(config.format(1, 2))
    assert set(json.loads(key("{}"))["files"]) == {"train.csv", "val.csv"}


def some_runs(folder, names, seeds):
    return [
        (Run("tiny", name, seed, folder / name / str(seed), {}), LossSettings(name))
        for name in names
        for seed in seeds
    ]


def train(runs, features, splits):
    measured = heads.train_heads(runs, features, splits, HEAD, "cpu")
    return {(run.loss, run.seed): scores.scores for run, scores in measured.items()}


def test_heads_are_trained_once_and_no_state_goes_from_one_to_the_next(
    settings, features, tmp_path, monkeypatch
):
    splits = load_splits(settings)
    both = train(some_runs(tmp_path / "a", ["EQLv2", "EQL"], [0, 1]), features, splits)
    alone = train(some_runs(tmp_path / "b", ["EQLv2", "EQL"], [1]), features, splits)
    for loss in ("EQLv2", "EQL"):
        assert np.array_equal(both[loss, 1], alone[loss, 1])
        assert not np.array_equal(both[loss, 0], both[loss, 1])

    def refuse(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr(heads, "train_head", refuse)
    again = train(some_runs(tmp_path / "a", ["EQLv2", "EQL"], [0, 1]), features, splits)
    assert all(np.array_equal(again[key], both[key]) for key in both)
    with pytest.raises(AssertionError, match="trained again"):  # features of something else
        train(
            some_runs(tmp_path / "a", ["EQL"], [0]), dataclasses.replace(features, key="x"), splits
        )


def test_clips_without_pixels_are_left_out(features):
    targets = np.eye(NUM_CLASSES, dtype=np.float32)[np.arange(18) % NUM_CLASSES]
    missing = Features(features.train.copy(), features.test.copy(), "")
    missing.train[16:] = np.nan
    missing.test[2] = np.nan
    criterion = losses.build("bce_loss")
    model = heads.train_head(missing.train, targets, criterion, HEAD, 0)
    without = heads.train_head(features.train[:16], targets[:16], criterion, HEAD, 0)
    assert torch.equal(model.weight, without.weight)
    scores = heads.head_scores(model, missing.test)
    assert np.isnan(scores[2]).all() and np.isfinite(np.delete(scores, 2, 0)).all()


def test_a_rate_that_is_too_high_is_one_line(features):
    targets = np.ones((18, NUM_CLASSES), dtype=np.float32)
    head = dataclasses.replace(HEAD, lr=1e38)
    with pytest.raises(UserError, match="head.lr: 1e.38 is too high"):
        heads.train_head(features.train, targets, losses.build("bce_loss"), head, 0)


def test_the_command_ends_in_a_table_and_says_what_is_missing(tree, clips, tmp_path):
    from slowfast.ak import base
    from slowfast.ak.config import merge

    data = {"DATA.PATH_TO_DATA_DIR": str(clips / "annot"), "DATA.PATH_PREFIX": str(clips / "image")}
    overrides = {**data, "MODEL.NUM_CLASSES": NUM_CLASSES, "DATA_LOADER.NUM_WORKERS": 0}
    content = {
        "models": {"demo": "configs/AK/DEMO.yaml"},
        "losses": ["bce_loss", "ASL"],
        "seeds": [0, 1],
        "output": str(tmp_path / "out"),
        "overrides": overrides,
        "head": {"epochs": 2},
    }

    def sweep():
        file = tmp_path / "sweep.yaml"
        file.write_text(json.dumps(content))
        command = [sys.executable, "tools/sweep.py", str(file), "--features"]
        return subprocess.run(command, cwd=tree, capture_output=True, text=True)

    done = sweep()
    assert done.returncode == 2
    assert done.stderr.startswith("sweep: error: weights.demo: is missing; name the checkpoint")
    cfg = base.default_config()
    words = [str(word) for pair in overrides.items() for word in pair]
    assert merge(cfg, tree / "configs/AK/DEMO.yaml", words) == []
    torch.save({"model_state": base.build_model(cfg).state_dict()}, tmp_path / "demo.pyth")
    content["weights"] = str(tmp_path / "demo.pyth")
    done = sweep()
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr and "\n| ASL " in done.stdout
    again = sweep()
    assert "features from" in again.stdout
    assert again.stdout.partition("# Losses")[2] == done.stdout.partition("# Losses")[2]
    assert sorted(p.name for p in (tmp_path / "out" / "features").iterdir()) == [
        *("demo", "differences.png", "results.csv", "results.md")
    ]

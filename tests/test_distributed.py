"""What processes tell one another, and the scores of several: those of one, to the bit."""

from __future__ import annotations

import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from processes import REPO, in_processes
from torch import nn

from actionrec import launched
from actionrec.data.batching import EpochBatches, test_loader, val_loader
from actionrec.engine import distributed
from actionrec.engine.evaluate import score_clips, score_views
from actionrec.errors import UserError
from actionrec.metrics import get_map
from actionrec.metrics.ensemble import ViewEnsemble
from actionrec.randomness import epoch_order
from actionrec.types import Batch, ClipViews, LoaderSettings

NUM_CLASSES = 5
LOADER = LoaderSettings(train_batch=6, test_batch=4, num_workers=0)


def primitives():
    rank = launched.rank()
    numbers = distributed.gather_numbers([rank, 0.1])
    texts = distributed.gather_texts("é" * rank)
    own = np.zeros((4, 2), np.float32)
    own[rank] = [np.nan, 0.1]
    summed = distributed.sum_array(own)
    seen = distributed.sum_array(np.arange(4) == rank)
    layer = nn.BatchNorm3d(2)
    layer.running_mean += rank + 1
    distributed.copy_buffers_from_main(layer)
    return numbers, texts, summed, seen, layer.running_mean.numpy()


def test_numbers_texts_and_arrays_arrive_as_they_were():
    for numbers, texts, summed, seen, mean in in_processes(3, primitives):
        assert numbers.tolist() == [[0, 0.1], [1, 0.1], [2, 0.1]]
        assert texts == ["", "é", "éé"]
        assert np.isnan(summed[:3, 0]).all() and summed[3, 0] == 0
        assert summed.dtype == np.float32 and (summed[:3, 1] == np.float32(0.1)).all()
        assert seen.dtype == bool and seen.tolist() == [True, True, True, False]
        assert mean.tolist() == [1, 1]


def test_one_process_gathers_itself():
    assert distributed.gather_numbers([1.5]).tolist() == [[1.5]]
    assert distributed.gather_texts("é") == ["é"]
    distributed.wait_for_all()
    distributed.require_agreement({"code": "a"})


def agree(facts):
    try:
        distributed.require_agreement(facts | {"code": "ab"[launched.rank() == 2]})
    except UserError as error:
        return str(error)


def test_a_process_that_has_something_else_is_named_in_all():
    for message in in_processes(3, agree, {"train.csv": "same"}):
        assert message.startswith("code: process 0 has a and process 2 has b; ")


class MadeUp:
    """Clips whose pixels follow from their number: one view for validation, or two for a test."""

    def __init__(self, count, views):
        self.count, self.views = count, views
        self.table = SimpleNamespace(source="made up")

    def __len__(self):
        return self.count

    def __getitem__(self, clip):
        rng = np.random.default_rng(clip)
        bank = rng.integers(0, 255, (2, 4, 4, 3), dtype=np.uint8)
        if not self.views:
            return Batch(bank, rng.integers(0, 2, NUM_CLASSES).astype(np.float32), clip)
        offsets = np.array([[0, 0], [0, 2], [2, 2]])
        return ClipViews(bank, np.array([[0], [1]]), offsets, 2, clip)


class Scorer(nn.Module):
    device = torch.device("cpu")

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(12, NUM_CLASSES)
        rng = np.random.default_rng(0)
        for parameter in self.parameters():
            parameter.data = torch.from_numpy(rng.normal(0, 0.3, parameter.shape)).float()

    def forward(self, frames):
        pooled = frames[:, :, ::2, ::2].float().mean(1) if frames.shape[2] > 2 else frames[:, 0]
        return self.head(pooled.flatten(1).float() / 255).sigmoid()


def validation_share(count):
    batches = val_loader(MadeUp(count, False), LOADER)
    return score_clips(Scorer(), batches, count, NUM_CLASSES)


def test_share(count):
    ensemble = ViewEnsemble(count, NUM_CLASSES, 6, "mean")
    shares = test_loader(MadeUp(count, True), LOADER)
    options = {"num_clips": len(shares), "batch_size": 4, "log_period": 10**6}
    score_views(Scorer(), shares, ensemble, **options)
    return ensemble


test_share.__test__ = False


def stand_in(monkeypatch, rank, world):
    """Make this process the one of a run of which torchrun says so."""
    for name, value in {"RANK": rank, "WORLD_SIZE": world, "MASTER_ADDR": "nowhere"}.items():
        monkeypatch.setenv(name, str(value))


@pytest.mark.parametrize("world", [2, 3, 8])
def test_shares_of_1_to_64_clips_are_each_clip_once_and_the_scores_of_one_process(
    world, monkeypatch
):
    for count in range(1, 65):
        with monkeypatch.context() as patch:
            shares, ensembles = [], []
            for rank in range(world):
                stand_in(patch, rank, world)
                shares.append(validation_share(count))
                ensembles.append(test_share(count))
        scores, targets, read = validation_share(count)
        assert (sum(read.astype(int) for *_, read in shares) == 1).all()
        assert np.array_equal(sum(scores for scores, *_ in shares), scores)
        assert np.array_equal(sum(targets for _, targets, _ in shares), targets)
        seen = [ensemble.complete().astype(int) for ensemble in ensembles]
        assert (sum(seen) == 1).all()
        parts = iter(
            [
                sum(ensemble._scores for ensemble in ensembles),
                sum(ensemble._seen.astype(int) for ensemble in ensembles) == 1,
            ]
        )
        ensembles[0].merge(lambda _, parts=parts: next(parts))
        assert np.array_equal(ensembles[0].result(), test_share(count).result())


def all_scores(counts):
    """Of validation and test, what all processes together found."""
    found = []
    for count in counts:
        scores, targets, read = map(distributed.sum_array, validation_share(count))
        ensemble = test_share(count)
        ensemble.merge(distributed.sum_array)
        assert read.all()
        found += [scores, ensemble.result(), get_map(scores, targets)]
    return found


@pytest.mark.parametrize("world", [2, 3, 8])
def test_scores_and_map_of_several_processes_are_those_of_one_to_the_bit(world):
    counts = [1, 2, 13, 61]
    alone = all_scores(counts)
    for found in in_processes(world, all_scores, counts):
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(alone, found, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3, 8])
def test_so_they_are_of_as_many_clips_as_animal_kingdom_tests(world):
    alone = all_scores([6097])
    for found in in_processes(world, all_scores, [6097]):
        assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(alone, found, strict=True))


@pytest.mark.parametrize("world", [1, 2, 3, 8])
def test_a_training_batch_is_shared_out_in_the_order_of_one_process(world, monkeypatch):
    def batches():
        order = EpochBatches(lambda epoch: epoch_order(3, epoch, 61), 24)
        return [[clip for _, clip, _ in batch] for batch in order]

    whole = batches()
    shares = []
    for rank in range(world):
        stand_in(monkeypatch, rank, world)
        shares.append(batches())
    for step, batch in enumerate(whole):
        assert [shares[place % world][step][place // world] for place in range(24)] == batch


def test_a_batch_that_cannot_be_shared_equally_is_refused(monkeypatch):
    stand_in(monkeypatch, 0, 5)
    with pytest.raises(UserError, match="24 clips.* cannot be shared equally by 5 of them"):
        EpochBatches(lambda epoch: epoch_order(3, epoch, 61), 24)


def test_no_pickled_object_travels():
    """What another process sends is numbers: unpickling it could run code."""
    pickling = re.compile(r"(all_gather|broadcast|gather|scatter|send|recv)_object")
    folders = [REPO / name for name in ("losses", "code_new")]
    files = [Path(p, n) for f in folders for p, _, ns in os.walk(f) for n in ns if n[-3:] == ".py"]
    assert len(files) > 100
    assert [file.name for file in files if pickling.search(file.read_text())] == []

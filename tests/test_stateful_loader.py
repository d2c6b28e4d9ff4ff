"""The rest of an epoch after a kill: from our loader, and from torchdata's StatefulDataLoader."""

from __future__ import annotations

import pytest
import torch
from interrupted_runs import STEPS
from tiny_run import make_settings

from actionrec.data.batching import EpochBatches, train_loader
from actionrec.data.dataset import TrainDataset
from actionrec.data.splits import load_splits
from actionrec.randomness import epoch_order
from actionrec.types import LoaderSettings

stateful = pytest.importorskip(
    "torchdata.stateful_dataloader", reason="torchdata is not installed; nothing else needs it"
)
EPOCH = 2


@pytest.fixture
def dataset(clips, tmp_path):
    settings = make_settings(clips, tmp_path)
    splits = load_splits(settings)
    return TrainDataset(splits.train_clips, splits.train_pixels, settings.data, settings.seed)


def ours(dataset, workers, start_step=0):
    loader = train_loader(dataset, LoaderSettings(6, 4, workers))
    loader.set_epoch(EPOCH, start_step)
    return [(batch.clips.tolist(), batch.frames) for batch in loader]


def theirs(dataset, workers, state=None):
    """(batches, the state after each). Without the sampler's own state, theirs skips by reading."""
    batches = EpochBatches(lambda epoch: epoch_order(0, epoch, len(dataset)), 6)
    batches.set_epoch(EPOCH)
    loader = stateful.StatefulDataLoader(dataset, batch_sampler=batches, num_workers=workers)
    if state is not None:
        loader.load_state_dict(state)
    seen = [((b.clips.tolist(), b.frames), loader.state_dict()) for b in loader]
    return [batch for batch, _ in seen], [after for _, after in seen]


def same(one, other):
    return len(one) == len(other) and all(
        a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in zip(one, other, strict=True)
    )


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("step", range(1, STEPS))
def test_both_give_the_rest_of_the_epoch(dataset, workers, step):
    whole = ours(dataset, workers)
    their_whole, states = theirs(dataset, workers)
    assert same(whole, their_whole)
    assert same(ours(dataset, workers, step), whole[step:])
    assert same(theirs(dataset, workers, states[step - 1])[0], whole[step:])


def test_ours_alone_goes_on_with_another_number_of_workers(dataset):
    whole = ours(dataset, 2)
    assert same(ours(dataset, 0, 1), whole[1:])
    _, states = theirs(dataset, 2)
    with pytest.raises(AssertionError, match="'_num_yielded'"):
        theirs(dataset, 0, states[0])

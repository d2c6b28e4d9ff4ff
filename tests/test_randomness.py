"""Every draw follows from the seed and its purpose; no draw depends on another."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from actionrec.errors import UserError
from actionrec.randomness import epoch_order, sample_rng, seed_start, seed_step

seeds = st.integers(0, 2**32 - 1)
epochs = st.integers(0, 10_000)


@given(seed=seeds, epoch=epochs, num_clips=st.integers(0, 300))
def test_an_epoch_visits_every_clip_once(seed, epoch, num_clips):
    order = epoch_order(seed, epoch, num_clips)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(num_clips))


@given(seed=seeds, epoch=epochs, clip=st.integers(0, 100_000))
def test_a_draw_is_the_same_whatever_was_drawn_before(seed, epoch, clip):
    first = sample_rng(seed, epoch, clip).random(4)
    np.random.random(3)
    sample_rng(seed, epoch, clip + 1).random(4)
    assert np.array_equal(first, sample_rng(seed, epoch, clip).random(4))
    assert np.array_equal(epoch_order(seed, epoch, 20), epoch_order(seed, epoch, 20))


def test_seeds_epochs_and_clips_have_streams_of_their_own():
    streams = {
        (seed, epoch, clip): sample_rng(seed, epoch, clip).random()
        for seed in range(6)
        for epoch in range(6)
        for clip in range(40)
    }
    assert len(set(streams.values())) == len(streams)
    orders = {tuple(epoch_order(seed, epoch, 50)) for seed in range(20) for epoch in range(20)}
    assert len(orders) == 400


def test_the_order_of_an_epoch_and_the_augmentation_of_clip_0_are_unrelated():
    # With zero-padded entropy instead of a spawn key these two would be one stream.
    shuffled = np.random.Generator(np.random.Philox(np.random.SeedSequence(3))).permutation(30)
    assert not np.array_equal(epoch_order(3, 0, 30), shuffled)
    assert not np.array_equal(epoch_order(3, 0, 30), sample_rng(3, 0, 0).permutation(30))


def test_streams_stay_what_they_were_so_that_old_runs_resume():
    assert epoch_order(0, 0, 8).tolist() == GOLDEN_ORDER
    assert sample_rng(1, 2, 3).integers(0, 1000, 4).tolist() == GOLDEN_SAMPLE
    seed_step(1, 2, 3)
    assert torch.randint(0, 1000, (4,)).tolist() == GOLDEN_STEP


def _dropout(seed: int, step: int, rank: int = 0) -> list[float]:
    seed_step(seed, step, rank)
    return torch.nn.functional.dropout(torch.ones(64), 0.5).tolist()


def test_dropout_follows_from_seed_step_and_rank_alone():
    first = _dropout(0, 7)
    torch.rand(100)
    assert _dropout(0, 7) == first
    assert _dropout(0, 7, rank=0) == first
    assert first not in (_dropout(0, 8), _dropout(1, 7), _dropout(0, 7, rank=1))


def test_seed_start_gives_equal_initial_weights():
    def draws():
        seed_start(5)
        return random.getrandbits(32), np.random.random(), torch.nn.Linear(3, 2).weight.tolist()

    assert draws() == draws()
    torch.manual_seed(5)
    expected = torch.nn.Linear(3, 2).weight.tolist()
    assert draws()[2] == expected


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_out_of_range_is_one_line_that_names_the_key(seed):
    for draw in (lambda: epoch_order(seed, 0, 3), lambda: seed_start(seed)):
        with pytest.raises(UserError, match=rf"^RNG_SEED: {seed} is outside 0\.\.4294967295"):
            draw()


GOLDEN_ORDER = [4, 0, 7, 3, 5, 2, 1, 6]
GOLDEN_SAMPLE = [757, 164, 89, 643]
GOLDEN_STEP = [377, 270, 161, 270]

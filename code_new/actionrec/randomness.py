"""Randomness without state: a draw follows from the seed and its purpose, not from earlier draws.

The order of an epoch follows from (seed, epoch), the augmentation of a clip from (seed, epoch,
clip), the dropout of a step from (seed, step, rank). A run that stops at any step and resumes is
therefore the same run, with any number of workers. numpy's SeedSequence keeps the streams apart:
the seed is its entropy, the rest is its spawn key, whose first word says what the stream is for.
"""

from __future__ import annotations

import random

import numpy as np
import torch

from actionrec.errors import UserError

# First words of the spawn keys. Another number makes another run of every seed: never change one.
_ORDER, _SAMPLE, _STEP, _DRAWS = 1, 2, 3, 4
_SEED_LIMIT = 2**32  # numpy's global generator, which draws initial weights, takes no more


def epoch_order(seed: int, epoch: int, num_clips: int) -> np.ndarray:
    """The order of an epoch: a permutation of 0..num_clips-1, (num_clips,) int64."""
    order = np.random.Generator(np.random.Philox(_stream(seed, _ORDER, epoch)))
    return order.permutation(num_clips)


def epoch_rng(seed: int, epoch: int) -> np.random.Generator:
    """The generator of an epoch's draws, where some clips are drawn more often than others."""
    return np.random.Generator(np.random.Philox(_stream(seed, _DRAWS, epoch)))


def sample_rng(seed: int, epoch: int, clip: int, occurrence: int = 0) -> np.random.Generator:
    """The generator of one clip's start, scale, crop and flip in one epoch.

    occurrence: how often the clip was drawn before in this epoch.
    """
    again = (occurrence,) if occurrence else ()
    return np.random.Generator(np.random.Philox(_stream(seed, _SAMPLE, epoch, clip, *again)))


def seed_step(seed: int, step: int, rank: int = 0) -> None:
    """Seed torch, on the CPU and every GPU, for one step: its dropout depends on nothing else.

    step: number of the optimizer step since the start of the run, over all epochs.
    """
    word = _stream(seed, _STEP, step, rank).generate_state(1, np.uint64)[0]
    torch.manual_seed(int(word))


def seed_start(seed: int) -> None:
    """Seed python, numpy and torch as SlowFast does, before a model draws its initial weights."""
    _check(seed)
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def _stream(seed: int, *key: int) -> np.random.SeedSequence:
    _check(seed)
    return np.random.SeedSequence(seed, spawn_key=key)


def _check(seed: int) -> None:
    if not 0 <= seed < _SEED_LIMIT:
        raise UserError(
            f"RNG_SEED: {seed} is outside 0..{_SEED_LIMIT - 1}; choose a seed in between"
        )

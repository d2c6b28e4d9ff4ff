"""Which clips an epoch draws, and how often: each once, or those of rare classes more often.

Every epoch of a run has as many draws, and they follow from (seed, epoch) alone.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from actionrec.errors import UserError, nearest
from actionrec.randomness import epoch_order, epoch_rng

SAMPLERS = ("uniform", "class_balanced", "square_root", "repeat_factor")
_POWERS = {"class_balanced": 0.0, "square_root": 0.5}

Draws = Callable[[int], np.ndarray]  # epoch -> clip numbers (M,) int64, M the same each time


def draw_rates(sampler: str, targets: np.ndarray, threshold: float = 1e-3) -> np.ndarray:
    """How often an epoch draws each clip, on average: (K,) float64.

    targets (K, C), 1 for the labels of a clip. class_balanced and square_root draw K clips: a
    class with probability proportional to n_c^0 or n_c^(1/2), then one of its clips (Kang et al.
    2020, arXiv:1910.09217, eq. 1). repeat_factor draws a clip max over its labels c of
    max(1, sqrt(threshold / f_c)) times, f_c = n_c / K (Gupta et al. 2019, arXiv:1908.03195, section
    3.3). Raises UserError for an unknown sampler, and for clips without a label, which a class
    cannot draw.
    """
    num_clips = len(targets)
    if sampler not in SAMPLERS:
        known = ", ".join(nearest(sampler, list(SAMPLERS)))
        raise UserError(f"TRAIN.SAMPLER: unknown sampler {sampler!r}; known: {known}")
    if sampler == "uniform":
        return np.ones(num_clips)
    counts = targets.sum(axis=0, dtype=np.float64)
    present = counts > 0
    if sampler == "repeat_factor":
        factors = np.ones(len(counts))
        factors[present] = np.maximum(1, np.sqrt(threshold * num_clips / counts[present]))
        return np.maximum((targets * factors).max(axis=1), 1.0)
    if not targets.any(axis=1).all():
        clip = int(np.flatnonzero(~targets.any(axis=1))[0])
        raise UserError(f"TRAIN.SAMPLER: {sampler} cannot draw clip number {clip}: it has no label")
    of_class = np.zeros(len(counts))
    of_class[present] = counts[present] ** _POWERS[sampler]
    of_class /= of_class.sum()
    per_clip = np.divide(of_class, counts, out=np.zeros_like(counts), where=present)
    return num_clips * (targets * per_clip).sum(axis=1)


def clip_draws(sampler: str, targets: np.ndarray, seed: int, threshold: float = 1e-3) -> Draws:
    """The draws of each epoch, as `draw_rates` describes them."""
    rates = draw_rates(sampler, targets, threshold)
    num_clips = len(rates)
    if sampler == "uniform":
        return lambda epoch: epoch_order(seed, epoch, num_clips)
    if sampler == "repeat_factor":
        return lambda epoch: _repeated(rates, epoch_rng(seed, epoch))
    chances = rates / rates.sum()
    return lambda epoch: epoch_rng(seed, epoch).choice(num_clips, num_clips, p=chances)


def _repeated(rates: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Each clip `rates` times, the fraction by chance, shuffled: as many as the rates sum to."""
    times = np.floor(rates).astype(np.int64)
    times += rng.random(len(rates)) < rates - times
    draws = rng.permutation(np.repeat(np.arange(len(rates)), times))
    wanted = int(rates.sum())
    # Chance gave a few more or less: the last are left out, or the first of another shuffle added.
    more = rng.permutation(len(rates))[: max(wanted - len(draws), 0)]
    return np.concatenate([draws, more])[:wanted]


def occurrences(draws: np.ndarray) -> np.ndarray:
    """(M,) int64: how often the clip of each draw was drawn before in this epoch."""
    order = np.argsort(draws, kind="stable")
    ordered = draws[order]
    first = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[first, len(draws)])
    counted = np.empty(len(draws), dtype=np.int64)
    counted[order] = np.arange(len(draws)) - np.repeat(first, lengths)
    return counted


def effect(sampler: str, rates: np.ndarray, targets: np.ndarray, segment: np.ndarray) -> str:
    """A line on what the sampler does to the labels, those that come along included.

    segment (C,): head, middle or tail of each class, as text; other texts count for none.
    """
    before = targets.sum(axis=0, dtype=np.float64)
    after = (targets * rates[:, None]).sum(axis=0)
    shares = [
        f"{name} {_percent(before, segment == name)} -> {_percent(after, segment == name)}"
        for name in ("head", "middle", "tail")
        if (segment == name).any()
    ]
    present = before > 0
    spread = [counts[present].max() / counts[present].min() for counts in (before, after)]
    return (
        f"TRAIN.SAMPLER {sampler}: an epoch draws {int(rates.sum()):,} times from {len(rates):,} "
        f"clips, the most frequent one {rates.max():.1f} times; labels of {', '.join(shares)}; the "
        f"largest class has {spread[0]:.0f} -> {spread[1]:.0f} times the labels of the smallest"
    )


def _percent(counts: np.ndarray, chosen: np.ndarray) -> str:
    return f"{100 * counts[chosen].sum() / counts.sum():.1f} %"

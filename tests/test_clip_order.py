"""Samplers: how often each clip and label is drawn, against the papers, and exactly again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionrec.data.clip_order import (
    SAMPLERS,
    clip_draws,
    draw_rates,
    effect,
    occurrences,
)
from actionrec.errors import UserError
from actionrec.randomness import epoch_order, sample_rng


def long_tailed(num_clips=400, num_classes=12, seed=0):
    """One to three labels a clip, class c about 1 / (c + 1) as frequent as class 0."""
    rng = np.random.default_rng(seed)
    chances = 1 / np.arange(1, num_classes + 1)
    targets = np.zeros((num_clips, num_classes), np.float32)
    for row in targets:
        row[rng.choice(num_classes, rng.integers(1, 4), False, chances / chances.sum())] = 1
    return targets


def test_uniform_is_the_order_that_runs_have_always_had():
    draws = clip_draws("uniform", long_tailed(), seed=3)
    assert np.array_equal(draws(5), epoch_order(3, 5, 400))


@pytest.mark.parametrize(("sampler", "power"), [("class_balanced", 0.0), ("square_root", 0.5)])
def test_a_class_is_drawn_first_and_then_one_of_its_clips(sampler, power):
    targets = long_tailed()
    counts = targets.sum(0, dtype=np.float64)
    chance = counts**power / (counts**power).sum()
    expected = np.array(
        [sum(chance[c] / counts[c] for c in np.flatnonzero(row)) * 400 for row in targets]
    )
    rates = draw_rates(sampler, targets)
    np.testing.assert_allclose(rates, expected, rtol=1e-12)
    assert rates.sum() == pytest.approx(400)
    drawn = np.mean(
        [np.bincount(clip_draws(sampler, targets, 0)(e), minlength=400) for e in range(2000)], 0
    )
    np.testing.assert_allclose(drawn, rates, atol=6 * np.sqrt(rates.max() / 2000))


def test_with_one_label_a_clip_balanced_classes_are_drawn_alike():
    targets = np.eye(4, dtype=np.float32)[np.repeat(np.arange(4), [100, 20, 5, 1])]
    per_class = (targets * draw_rates("class_balanced", targets)[:, None]).sum(0)
    np.testing.assert_allclose(per_class, 126 / 4)
    roots = (targets * draw_rates("square_root", targets)[:, None]).sum(0)
    np.testing.assert_allclose(roots / roots[3], np.sqrt([100, 20, 5, 1]))


def test_repeat_factors_are_the_largest_of_a_clips_labels():
    targets = long_tailed()
    f = targets.sum(0) / 400
    factors = [max(1.0, (0.05 / share) ** 0.5) for share in f]
    expected = [max(factors[c] for c in np.flatnonzero(row)) for row in targets]
    rates = draw_rates("repeat_factor", targets, threshold=0.05)
    np.testing.assert_allclose(rates, expected)
    draws = [clip_draws("repeat_factor", targets, 0, 0.05)(e) for e in range(500)]
    assert {len(d) for d in draws} == {int(sum(expected))}
    counts = np.stack([np.bincount(d, minlength=400) for d in draws])
    np.testing.assert_allclose(counts.mean(0), rates, atol=0.15)
    # A fraction by chance; now and then a clip is left out or comes once more to fill the epoch.
    assert (np.abs(counts - rates) <= 2).all()


def test_no_clip_is_repeated_where_every_class_is_frequent():
    targets = np.eye(3, dtype=np.float32)[np.arange(60) % 3]
    draws = clip_draws("repeat_factor", targets, seed=1)(0)
    assert sorted(draws) == list(range(60))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_epoch_is_the_same_again_and_others_differ(sampler):
    targets = long_tailed()
    one, again = (clip_draws(sampler, targets, seed=7) for _ in range(2))
    assert np.array_equal(one(3), again(3))
    assert not np.array_equal(one(3), one(4))
    assert not np.array_equal(one(3), clip_draws(sampler, targets, seed=8)(3))


@given(st.lists(st.integers(0, 5), min_size=1, max_size=40))
def test_occurrences_count_the_earlier_draws_of_a_clip(draws):
    expected = [draws[:at].count(clip) for at, clip in enumerate(draws)]
    assert occurrences(np.array(draws)).tolist() == expected


def test_a_clip_that_comes_again_is_cut_otherwise():
    first, again = sample_rng(0, 1, 5).random(), sample_rng(0, 1, 5, 1).random()
    assert first != again and first == sample_rng(0, 1, 5, 0).random()


def test_the_line_says_what_heads_are_dragged_along():
    targets = np.array([[1, 0, 0]] * 90 + [[1, 1, 0]] * 9 + [[1, 0, 1]], np.float32)
    rates = draw_rates("class_balanced", targets)
    line = effect("class_balanced", rates, targets, np.array(["head", "middle", "tail"]))
    # Class 0 is in every clip: drawn every time, whatever class asked for the clip.
    assert "labels of head 90.9 % -> 58.8 %, middle 8.2 % -> 21.4 %, tail 0.9 % -> 19.8 %" in line
    assert "draws 100 times from 100 clips, the most frequent one 33.7 times" in line
    assert "the largest class has 100 -> 3 times the labels of the smallest" in line


def test_what_cannot_be_drawn_is_told():
    with pytest.raises(UserError, match="TRAIN.SAMPLER: unknown sampler .balanced.; known"):
        draw_rates("balanced", long_tailed())
    unlabelled = np.vstack([long_tailed(), np.zeros((1, 12), np.float32)])
    with pytest.raises(UserError, match="cannot draw clip number 400: it has no label"):
        draw_rates("class_balanced", unlabelled)
    assert draw_rates("repeat_factor", unlabelled)[400] == 1

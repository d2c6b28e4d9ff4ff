"""The bootstrap against clips really repeated, and its verdicts where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actionrec.errors import UserError
from actionrec.metrics.average_precision import average_precision
from actionrec.metrics.bootstrap import (
    draw_clips,
    drawn_ap,
    intervals,
    segment_means,
    verdict,
)
from actionrec.metrics.protocols import summarize
from actionrec.metrics.segments import segment_classes


def split(seed=0, num_clips=60, num_classes=6, decimals=2):
    """Scores with many ties, and classes from frequent to absent."""
    rng = np.random.default_rng(seed)
    targets = rng.random((num_clips, num_classes)) < np.linspace(0.6, 0.0, num_classes)
    scores = np.round(rng.random((num_clips, num_classes)) + 0.4 * targets, decimals)
    return scores, targets.astype(np.float32)


def segments(targets):
    counts = targets.sum(0)
    return segment_classes("train", train_counts=counts, test_counts=counts, cuts=(25, 10))


@given(seed=st.integers(0, 200), decimals=st.sampled_from([0, 1, 6]))
def test_an_ap_of_a_draw_is_that_of_the_clips_repeated(seed, decimals):
    scores, targets = split(seed, decimals=decimals)
    draws = draw_clips(len(scores), num_draws=7, seed=seed)
    found = drawn_ap(scores, targets, draws)
    for number in range(7):
        clips = np.repeat(np.arange(len(scores)), draws[:, number].astype(int))
        expected = average_precision(scores[clips], targets[clips])
        np.testing.assert_allclose(found[number], expected, rtol=1e-12)


def test_draws_are_of_all_clips_with_replacement_and_the_same_again():
    draws = draw_clips(50, num_draws=400, seed=1)
    assert draws.shape == (50, 400) and (draws.sum(0) == 50).all()
    assert np.array_equal(draws, draw_clips(50, 400, seed=1))
    assert not np.array_equal(draws, draw_clips(50, 400, seed=2))
    assert draws.mean() == 1 and draws.var() == pytest.approx(1 - 1 / 50, rel=0.03)


def test_the_means_are_those_of_the_table():
    scores, targets = split()
    summary = summarize(scores, targets, segments(targets))
    found = segment_means(summary.per_class, segments(targets))
    expected = [summary.overall, summary.head, summary.middle, summary.tail]
    np.testing.assert_allclose(found, expected)
    several = segment_means(np.stack([summary.per_class] * 3), segments(targets))
    np.testing.assert_allclose(several, [expected] * 3)


def test_an_interval_holds_the_value_and_narrows_with_more_clips():
    widths = []
    for num_clips in (60, 960):
        scores, targets = split(num_clips=num_clips, decimals=6)
        found = intervals(scores, targets, segments(targets), draw_clips(num_clips, 300))
        assert all(i.low < i.value < i.high for i in found.values() if not np.isnan(i.value))
        widths.append(found["overall"].high - found["overall"].low)
    assert widths[1] < widths[0] / 2.5


def test_a_segment_that_cannot_be_measured_has_no_interval():
    scores, targets = split()
    targets[:, 4] = 0
    counts = np.array([40, 30, 20, 15, 5, 5])
    parts = segment_classes("train", train_counts=counts, test_counts=counts, cuts=(25, 10))
    tail = intervals(scores, targets, parts, draw_clips(60, 50))["tail"]
    assert np.isnan([tail.value, tail.low, tail.high]).all()


def test_verdicts_need_the_whole_interval_on_one_side():
    rng = np.random.default_rng(0)
    assert verdict(rng.normal(0.03, 0.01, 1000)) == "better"
    assert verdict(rng.normal(-0.03, 0.01, 1000)) == "worse"
    assert verdict(rng.normal(0.01, 0.01, 1000)) == "no evidence"
    assert verdict(np.full(10, np.nan)) == "no evidence"


def test_pairs_are_compared_on_the_same_draws():
    scores, targets = split(num_clips=200, decimals=6)
    draws = draw_clips(200, 300)
    a_little_better = scores + 0.08 * targets
    one, other = (
        segment_means(drawn_ap(s, targets, draws), segments(targets))[:, 0]
        for s in (a_little_better, scores)
    )
    assert verdict(one - other) == "better"
    shuffled = np.random.default_rng(1).permutation(other)
    assert np.std(one - other) < np.std(one - shuffled) / 2  # what unpaired draws would say


def test_scores_that_are_no_numbers_are_refused():
    scores, targets = split()
    scores[3, 1] = np.nan
    with pytest.raises(UserError, match="1 of 360 are NaN or infinite"):
        drawn_ap(scores, targets, draw_clips(60, 5))

"""Scores of clips from those of their views."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actionrec.errors import UserError
from actionrec.metrics.ensemble import METHODS, ViewEnsemble

CLIPS, VIEWS, CLASSES = 3, 4, 2
PLACES = [(clip, view) for clip in range(CLIPS) for view in range(VIEWS)]


def combine(scores, method, order=PLACES, batch=5):
    ensemble = ViewEnsemble(*(scores.shape[i] for i in (0, 2, 1)), method)
    for start in range(0, len(order), batch):
        clips, views = np.array(order[start : start + batch]).T
        ensemble.add(clips, views, scores[clips, views])
    return ensemble.result()


def random_scores():
    # Exponents far apart, so that a sum in another order would have other last bits.
    rng = np.random.default_rng(0)
    return (10.0 ** rng.uniform(-12, 0, (CLIPS, VIEWS, CLASSES))).astype(np.float32)


@pytest.mark.parametrize("method", METHODS)
def test_equals_numpy_in_float64(method):
    scores = random_scores()
    expected = getattr(scores.astype(np.float64), method)(axis=1)
    result = combine(scores, method)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, expected, rtol=1e-15)


@settings(database=None, deadline=None, max_examples=50)
@given(st.permutations(PLACES), st.integers(1, 12), st.sampled_from(METHODS))
def test_is_the_same_to_the_bit_in_any_order_and_batches(order, batch, method):
    scores = random_scores()
    assert (combine(scores, method, order, batch) == combine(scores, method)).all()


def test_sum_is_mean_times_views_and_ranks_alike():
    scores = random_scores()
    total, mean = combine(scores, "sum"), combine(scores, "mean")
    np.testing.assert_allclose(total, VIEWS * mean, rtol=1e-15)
    assert (np.argsort(total, axis=0) == np.argsort(mean, axis=0)).all()


@pytest.mark.parametrize("method", METHODS)
def test_logits_far_below_zero_keep_their_values(method):
    scores = np.full((1, 2, 1), -3e30, dtype=np.float32)
    expected = float(scores[0, 0, 0]) * (2 if method == "sum" else 1)
    assert combine(scores, method, [(0, 0), (0, 1)]).item() == expected


def test_a_small_score_survives_the_sum():
    scores = np.array([[[1e-6], [2e-6]]], dtype=np.float32)
    assert combine(scores, "sum", [(0, 0), (0, 1)]).item() == pytest.approx(3e-6, rel=1e-6)


def test_a_missing_view_is_named_with_how_many_clips_are_complete():
    order = [place for place in PLACES if place != (1, 2)]
    with pytest.raises(UserError, match=r"only 2 of 3 clips .* 1 views .* view 2 of clip 1"):
        combine(random_scores(), "max", order)


@pytest.mark.parametrize("method", METHODS)
def test_a_view_that_comes_twice_counts_once(method):
    scores = random_scores()
    twice = combine(scores, method, [*PLACES, (1, 2), (0, 0)])
    assert (twice == combine(scores, method)).all()


def test_a_view_that_comes_twice_with_other_scores_is_refused():
    ensemble = ViewEnsemble(2, 1, 2, "max")
    with pytest.raises(UserError, match="view 1 of clip 0 was scored twice"):
        ensemble.add([0, 0], [1, 1], [[0.5], [0.6]])


def test_a_nan_reaches_the_result_where_the_metric_names_it():
    scores = random_scores()
    scores[1, 2, 0] = np.nan
    for method in METHODS:
        result = combine(scores, method, [*PLACES, (1, 2)])
        assert np.isnan(result[1, 0])
        assert np.isnan(result).sum() == 1


@pytest.mark.parametrize(
    ("clips", "views", "scores", "message"),
    [
        ([3], [0], [[1, 2]], r"clip 3 is outside 0\.\.2"),
        ([-1], [0], [[1, 2]], r"clip -1 is outside 0\.\.2"),
        ([0], [4], [[1, 2]], r"view 4 is outside 0\.\.3"),
        ([0, 1], [0], [[1, 2]], "do not fit"),
        ([0], [0], [[1, 2, 3]], "do not fit"),
        ([0], [0], [1, 2], "do not fit"),
    ],
)
def test_places_and_shapes_that_do_not_fit_are_refused(clips, views, scores, message):
    with pytest.raises(UserError, match=message):
        ViewEnsemble(CLIPS, CLASSES, VIEWS, "max").add(clips, views, scores)


def test_an_unknown_method_lists_the_known_ones_nearest_first():
    with pytest.raises(UserError, match="DATA.ENSEMBLE_METHOD: .*'maxx'; known: max, mean, sum"):
        ViewEnsemble(1, 1, 1, "maxx")

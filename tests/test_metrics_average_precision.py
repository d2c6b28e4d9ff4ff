"""Average precision against its definition written out, and against sklearn."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from actionrec.errors import UserError
from actionrec.metrics import average_precision, get_map

# Few distinct values make ties; the second kind makes constants and single positives likely.
SHAPES = st.tuples(st.integers(1, 12), st.integers(1, 4))
FEW_VALUES = st.sampled_from([0.0, 0.25, 0.5, 0.5000001, 1.0, -3.0])
ANY_VALUES = st.floats(-(2.0**100), 2.0**100, width=32)


@st.composite
def scores_and_targets(draw):
    shape = draw(SHAPES)
    values = draw(st.sampled_from([FEW_VALUES, ANY_VALUES, st.just(0.5)]))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    scores = draw(npst.arrays(np.float64, shape, elements=values)).astype(dtype)
    return scores, draw(npst.arrays(np.int64, shape, elements=st.integers(0, 1)))


def written_out(scores, targets):
    """Precision at each distinct threshold, weighted by the recall that it adds."""
    ap, recall = 0.0, 0.0
    for threshold in sorted(set(scores), reverse=True):
        taken = [t for s, t in zip(scores, targets, strict=True) if s >= threshold]
        new_recall = sum(taken) / sum(targets)
        ap += (new_recall - recall) * sum(taken) / len(taken)
        recall = new_recall
    return ap


@settings(database=None, deadline=None, max_examples=300)
@given(scores_and_targets())
def test_equals_the_written_definition_ties_included(pair):
    scores, targets = pair
    ap = average_precision(scores, targets)
    assert ap.dtype == np.float64
    for c in range(scores.shape[1]):
        if targets[:, c].any():
            assert ap[c] == pytest.approx(written_out(scores[:, c], targets[:, c]), abs=1e-12)
        else:
            assert np.isnan(ap[c])


@settings(database=None, deadline=None, max_examples=300)
@given(scores_and_targets())
def test_equals_sklearn_to_1e_12(pair):
    sklearn = pytest.importorskip("sklearn.metrics")
    scores, targets = pair
    ap = average_precision(scores, targets)
    for c in np.flatnonzero(targets.any(axis=0)):
        expected = sklearn.average_precision_score(targets[:, c], scores[:, c])
        assert ap[c] == pytest.approx(expected, abs=1e-12)


@settings(database=None, deadline=None)
@given(scores_and_targets(), st.randoms(use_true_random=False))
def test_ignores_the_order_of_the_clips(pair, random):
    scores, targets = pair
    order = random.sample(range(len(scores)), len(scores))
    np.testing.assert_allclose(
        average_precision(scores[order], targets[order]),
        average_precision(scores, targets),
        rtol=0,
        atol=1e-15,
    )


def test_sees_only_the_order_of_the_scores():
    scores = np.random.default_rng(0).integers(0, 20, (50, 3)) / 32
    targets = np.random.default_rng(1).integers(0, 2, (50, 3))
    expected = average_precision(scores, targets)
    assert (average_precision(8 * scores - 3, targets) == expected).all()


def test_limits_perfect_is_1_constant_is_the_prevalence_and_worst_is_known():
    targets = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1], [0, 0, 0]])
    scores = np.array([[0.9, 0.5, 0.4], [0.1, 0.5, 0.3], [0.2, 0.5, 0.1], [0.0, 0.5, 0.2]])
    assert average_precision(scores, targets).tolist() == [1.0, 0.25, 0.25]


def test_takes_torch_tensors_and_boolean_targets():
    torch = pytest.importorskip("torch")
    scores = torch.tensor([[0.9, 0.1], [0.2, 0.8]])
    assert average_precision(scores, torch.eye(2)).tolist() == [1.0, 1.0]
    assert average_precision(scores, torch.eye(2, dtype=torch.bool)).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("metric", [average_precision, get_map])
def test_a_score_that_is_not_finite_is_named(metric, value):
    scores = np.zeros((6, 4))
    scores[2, 3] = scores[5, 1] = value
    with pytest.raises(UserError, match=r"2 of 24 are NaN or infinite.*at row 2, class 3"):
        metric(scores, np.ones((6, 4)))


@pytest.mark.parametrize("value", [0.5, -1, 2, np.nan])
def test_a_target_that_is_neither_0_nor_1_is_named(value):
    targets = np.zeros((3, 2))
    targets[1, 0] = value
    with pytest.raises(UserError, match=r"targets: .* at row 1, class 0"):
        average_precision(np.zeros((3, 2)), targets)


@pytest.mark.parametrize("shapes", [((3,), (3,)), ((3, 2), (2, 3)), ((3, 2), (3,))])
def test_other_shapes_are_refused_with_both(shapes):
    with pytest.raises(UserError, match=r"must be \(clips, classes\)"):
        average_precision(np.zeros(shapes[0]), np.zeros(shapes[1]))


def test_get_map_is_the_macro_mean_over_classes_with_a_positive():
    scores = np.array([[0.9, 0.2, 0.7], [0.8, 0.4, 0.1], [0.1, 0.3, 0.6]])
    targets = np.array([[0, 1, 0], [1, 0, 0], [0, 1, 0]])
    expected = np.mean([written_out(scores[:, c], targets[:, c]) for c in (0, 1)])
    result = get_map(scores, targets)
    assert type(result) is float
    assert result == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize("shape", [(0, 4), (5, 0), (5, 4)])
def test_get_map_without_a_positive_is_0(shape):
    assert get_map(np.zeros(shape), np.zeros(shape)) == 0.0


def test_a_full_size_test_set_takes_well_under_a_second():
    rng = np.random.default_rng(0)
    scores = rng.random((6096, 140), dtype=np.float32)
    targets = rng.random((6096, 140)) < 0.02
    started = time.perf_counter()
    average_precision(scores, targets)
    assert time.perf_counter() - started < 1.0

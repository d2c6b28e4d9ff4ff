"""The floors against enumeration, sampling, and scorers that are run."""

from itertools import permutations

import numpy as np
import pytest

from actionrec.metrics import average_precision
from actionrec.metrics.floors import prior_floor, random_floor
from actionrec.metrics.segments import segment_classes


def one_segment(targets):
    counts = targets.sum(axis=0)
    return segment_classes("train", train_counts=counts, test_counts=counts)


def columns(num_clips):
    """Targets (N, N): class c has c + 1 positives."""
    return np.tril(np.ones((num_clips, num_clips), dtype=int)).T


@pytest.mark.parametrize("num_clips", [1, 2, 3, 5, 6])
def test_the_random_floor_is_the_mean_over_all_orders(num_clips):
    targets = columns(num_clips)
    orders = list(permutations(range(num_clips)))
    total = np.zeros(num_clips)
    for order in orders:
        scores = np.repeat(np.array(order)[:, None], num_clips, axis=1)
        total += average_precision(scores, targets)
    floor = random_floor(targets, one_segment(targets))
    np.testing.assert_allclose(floor.per_class, total / len(orders), rtol=1e-12)


def test_the_random_floor_is_the_mean_of_random_scorers_at_a_larger_size():
    rng = np.random.default_rng(0)
    targets = (rng.random((400, 5)) < [0.005, 0.02, 0.1, 0.5, 0.9]).astype(int)
    targets[0] = 1
    runs = np.array([average_precision(rng.random((400, 5)), targets) for _ in range(1500)])
    error = runs.std(axis=0) / np.sqrt(len(runs))
    floor = random_floor(targets, one_segment(targets)).per_class
    assert (abs(runs.mean(axis=0) - floor) < 4 * error).all()


def test_the_random_floor_has_no_figure_for_a_class_without_a_clip():
    targets = np.array([[1, 0], [0, 0]])
    floor = random_floor(targets, one_segment(targets))
    assert floor.unmeasurable.tolist() == [1]
    assert floor.overall == 0.75


def test_the_prior_floor_is_the_prevalence_whatever_the_counts():
    targets = columns(5)
    floor = prior_floor([7, 0, 900, 1, 3], targets, one_segment(targets))
    np.testing.assert_allclose(floor.per_class, [0.2, 0.4, 0.6, 0.8, 1.0], rtol=1e-15)
    assert floor.overall == pytest.approx(0.6)
    nothing = prior_floor([0] * 5, targets, one_segment(targets))
    assert nothing.overall == floor.overall


def test_a_random_order_is_worth_a_little_more_than_ties():
    targets = columns(20)
    segments = one_segment(targets)
    above = (
        random_floor(targets, segments).per_class
        - prior_floor([1] * 20, targets, segments).per_class
    )
    assert (above[:-1] > 0).all()
    assert above[-1] == pytest.approx(0)

"""Clips divided so that each part has its share of each class, against the written-out method."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from actionrec.data.stratification import share_error, stratify

targets_of = st.integers(1, 30).flatmap(
    lambda clips: st.integers(1, 6).flatmap(lambda classes: arrays(bool, (clips, classes)))
)
fractions = st.sampled_from([(0.9, 0.1), (0.5, 0.5), (0.7, 0.2, 0.1), (1.0,)])
seeds = st.integers(0, 5)


def skewed(num_clips=3000, num_classes=40, seed=0):
    """Class c on 40 % of the clips for c = 0, then ever fewer, as in Animal Kingdom."""
    rng = np.random.default_rng(seed)
    return rng.random((num_clips, num_classes)) < 0.4 / np.arange(1, num_classes + 1) ** 1.5


def test_the_written_out_example():
    """Clips 0, 1, 2 have class A (the rarest), 2 to 9 class B; the parts want 70 % and 30 %.

    A: 2.1 and 0.9 are wanted: part 0, 0 (1.1 > 0.9), then 1 (0.1 < 0.9). So one of the three is in
    part 1. B, 5.6 and 2.4: if clip 2 is in part 1, 5.6 and 1.4 are left: 0 0 0 0 0, then 0.6 < 1.4:
    1, then 0.6 > 0.4: 0. Else 4.6 and 2.4: 0 0 0, then 1.6 < 2.4: 1, then 1.6 > 1.4: 0, then
    0.6 < 1.4: 1, then 0.6 > 0.4: 0. Both ways part 1 has two clips with B.
    """
    targets = np.zeros((10, 2))
    targets[:3, 0] = targets[2:, 1] = 1
    sizes = set()
    for seed in range(20):
        in_second = stratify(targets, None, (0.7, 0.3), seed) == 1
        assert targets[in_second].sum(axis=0).tolist() == [1, 2]
        sizes.add((bool(in_second[2]), int(in_second.sum())))
    assert sizes == {(True, 2), (False, 3)}


def test_the_written_out_example_with_groups():
    """Groups of 6, 3 and 1 clips, one class; 7 and 3 are wanted. The largest goes first, to part 0;
    then part 0 lacks 1 and has no room for 3, so they go to part 1; the last fits part 0 alone."""
    groups = np.array(list("aaabbbacaa"))
    part = stratify(np.ones((10, 1)), groups, (0.7, 0.3), 0)
    assert dict(zip(groups.tolist(), part.tolist(), strict=True)) == {"a": 0, "b": 1, "c": 0}


@given(targets=targets_of, fractions=fractions, seed=seeds, kept=st.integers(0, 3), data=st.data())
def test_groups_stay_whole_and_the_first_part_keeps_its_clips(targets, fractions, seed, kept, data):
    groups = data.draw(st.none() | arrays(np.int64, len(targets), elements=st.integers(0, 8)))
    part = stratify(targets, groups, fractions, seed, kept_in_first=kept)
    assert part.shape == (len(targets),) and set(part.tolist()) <= set(range(len(fractions)))
    if groups is not None:
        assert all(len(set(part[groups == group].tolist())) == 1 for group in groups)
    counts = targets.sum(axis=0)
    assert (targets[part == 0].sum(axis=0) >= np.minimum(kept, counts)).all()
    again = stratify(targets, groups, fractions, seed, kept_in_first=kept)
    assert part.tolist() == again.tolist()


@given(targets=targets_of, fractions=fractions, seed=seeds)
def test_the_names_of_groups_and_one_clip_a_group_change_nothing(targets, fractions, seed):
    alone = stratify(targets, np.arange(len(targets)), fractions, seed)
    named = stratify(targets, [f"g{k:03d}" for k in range(len(targets))], fractions, seed)
    assert alone.tolist() == named.tolist() == stratify(targets, None, fractions, seed).tolist()


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.3])
def test_skewed_classes_get_their_share_to_a_clip_and_ten_times_better_than_at_random(fraction):
    targets = skewed()
    held_out = stratify(targets, None, (1 - fraction, fraction), 0) == 1
    assert held_out.mean() == pytest.approx(fraction, rel=0.05)
    missed = np.abs(share_error(targets, held_out, fraction))
    assert missed.max() <= 1
    rng, drawn = np.random.default_rng(0), []
    for _ in range(20):
        at_random = rng.permutation(len(targets)) < fraction * len(targets)
        drawn.append(np.abs(share_error(targets, at_random, fraction)))
    assert missed.max() < np.max(drawn, axis=1).min() / 5
    assert missed.mean() < np.mean(drawn, axis=1).min() / 2


def test_with_groups_no_part_takes_more_than_it_has_room_for():
    targets = skewed()
    groups = np.random.default_rng(1).integers(0, 150, len(targets))
    held_out = stratify(targets, groups, (0.9, 0.1), 0) == 1
    assert 0.09 <= held_out.mean() <= 0.1
    assert 5 < len(set(groups[held_out].tolist())) < 20


def test_other_seeds_give_other_parts():
    targets = skewed()
    parts = {tuple(stratify(targets, None, (0.9, 0.1), seed).tolist()) for seed in range(4)}
    assert len(parts) == 4


def test_clips_without_a_class_are_shared_out_by_number():
    part = stratify(np.zeros((20, 3)), None, (0.75, 0.25), 0)
    assert np.bincount(part).tolist() == [15, 5]
    assert stratify(np.zeros((0, 3)), None, (0.75, 0.25), 0).tolist() == []


def test_what_is_missed_is_counted_in_clips():
    targets = np.array([[1, 0], [1, 0], [1, 0], [1, 1]])
    assert share_error(targets, np.array([True, True, False, False]), 0.25).tolist() == [1, -0.25]


@pytest.mark.parametrize(
    "targets, groups, fractions, message",
    [
        (np.ones(3), None, (0.5, 0.5), "not \\(K, C\\)"),
        (np.ones((3, 1)), [1, 2], (0.5, 0.5), "not \\(K, C\\) and \\(K,\\)"),
        (np.ones((3, 1)), None, (0.5, 0.4), "of sum 1"),
        (np.ones((3, 1)), None, (1.5, -0.5), "positive"),
        (np.ones((3, 1)), None, 1.0, "."),
    ],
)
def test_arguments_that_cannot_be_are_told(targets, groups, fractions, message):
    with pytest.raises((ValueError, TypeError), match=message):
        stratify(targets, groups, fractions, 0)

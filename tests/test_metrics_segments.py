"""Head, middle and tail by name, and the figures that are taken over them."""

import numpy as np
import pytest

from actionrec.errors import UserError
from actionrec.metrics.protocols import summarize
from actionrec.metrics.segments import DEFINITIONS, segment_classes

TRAIN = np.array([501, 500, 101, 100, 0, 450])
TEST = np.array([301, 300, 51, 50, 0, 60])
TABLE = np.array([1, 501, 500, 100, 101, 0])


def segments(definition, **changes):
    given = {"train_counts": TRAIN, "test_counts": TEST, "table_counts": TABLE} | changes
    return segment_classes(definition, **given)


@pytest.mark.parametrize(
    ("definition", "head", "middle", "tail"),
    [
        ("train", [0], [1, 2, 5], [3, 4]),
        ("workbook", [1], [2, 4], [0, 3, 5]),
        ("all", [0, 1, 5], [2, 3], [4]),
        ("published", [0], [1, 2, 5], [3]),
    ],
)
def test_head_is_above_its_cut_and_tail_at_or_below_its_own(definition, head, middle, tail):
    found = segments(definition)
    assert found.definition == definition
    assert found.cuts == DEFINITIONS[definition].cuts
    assert [found.head.tolist(), found.middle.tolist(), found.tail.tolist()] == [head, middle, tail]


@pytest.mark.parametrize("definition", ["train", "workbook", "all"])
def test_every_class_is_in_one_segment(definition):
    found = segments(definition)
    assert sorted([*found.head, *found.middle, *found.tail]) == list(range(6))


def test_published_leaves_out_classes_without_a_test_clip_whatever_the_cuts():
    found = segments("published", cuts=(60, 50))
    assert sorted([*found.head, *found.middle, *found.tail]) == [0, 1, 2, 3, 5]


def test_cuts_override_the_definitions_own():
    found = segments("train", cuts=(100, 0))
    assert found.cuts == (100, 0)
    assert found.tail.tolist() == [4]
    assert found.middle.tolist() == [3]


@pytest.mark.parametrize("cuts", [(100, 500), (5, 5), (5,), (), (5, 2, 1), (5, -1), (5.0, 2)])
def test_wrong_cuts_name_their_key(cuts):
    with pytest.raises(UserError, match=r"METRICS.SEGMENT_CUTS: \[.*\] is not \[h, t\]"):
        segments("train", cuts=cuts)


def test_an_unknown_definition_lists_the_known_ones_nearest_first():
    with pytest.raises(UserError, match="METRICS.SEGMENTS: .*'workbok'; known: workbook, all"):
        segments("workbok")


@pytest.mark.parametrize(
    ("definition", "lacking", "wanted"),
    [
        ("workbook", "table_counts", "METRICS.CLASS_TABLE or df_action.xlsx"),
        ("train", "train_counts", "train.csv"),
        ("all", "train_counts", "train.csv"),
    ],
)
def test_lacking_counts_are_named_with_where_they_come_from(definition, lacking, wanted):
    with pytest.raises(UserError, match=f"METRICS.SEGMENTS: '{definition}' needs .*{wanted}"):
        segments(definition, **{lacking: None})
    assert segments("published", **{lacking: None}).head.tolist() == [0]


def test_counts_of_another_length_are_refused():
    with pytest.raises(UserError, match=r"METRICS.SEGMENTS: .*\(5,\).*\(6,\)"):
        segments("workbook", table_counts=TABLE[:5])


def test_only_classes_with_a_clip_enter_a_mean():
    targets = np.array([[1, 0, 0, 1], [1, 0, 1, 0], [0, 0, 1, 0], [0, 0, 0, 0]])
    scores = np.array(
        [[0.9, 0.1, 0.2, 0.1], [0.8, 0.2, 0.3, 0.2], [0.1, 0.3, 0.9, 0.3], [0, 0, 0, 0.4]]
    )
    found = segment_classes(
        "train", train_counts=[900, 300, 200, 5], test_counts=targets.sum(axis=0)
    )
    summary = summarize(scores, targets, found)
    assert summary.per_class[[0, 2, 3]].tolist() == [1.0, 1.0, 0.25]
    assert np.isnan(summary.per_class[1])
    assert (summary.overall, summary.head, summary.middle, summary.tail) == (0.75, 1.0, 1.0, 0.25)
    assert summary.unmeasurable.tolist() == [1]
    assert (summary.num_measurable, summary.num_classes) == (3, 4)
    assert (summary.num_head, summary.num_middle, summary.num_tail) == (1, 1, 1)
    assert (summary.definition, summary.cuts) == ("train", (500, 100))


def test_a_segment_without_a_measurable_class_is_nan():
    found = segment_classes("train", train_counts=[900, 5], test_counts=[1, 0])
    summary = summarize(np.array([[0.5, 0.5]]), np.array([[1, 0]]), found)
    assert summary.overall == summary.head == 1.0
    assert np.isnan([summary.middle, summary.tail]).all()


def test_segments_of_more_classes_than_the_scores_are_refused():
    with pytest.raises(UserError, match="3 classes, .* class 5; check MODEL.NUM_CLASSES"):
        summarize(np.zeros((2, 3)), np.zeros((2, 3)), segments("train"))

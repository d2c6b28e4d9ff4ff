"""The table that ends a test."""

from dataclasses import replace

import numpy as np

from actionrec.metrics.protocols import MapSummary
from actionrec.report.tables import map_table

SUMMARY = MapSummary(
    overall=0.30551,
    head=0.6333,
    middle=0.3862,
    tail=0.2509,
    per_class=np.full(140, np.nan),
    unmeasurable=np.array([4, 24, 34, 36, 53, 63, 70, 77, 86, 89, 111, 113, 126]),
    num_classes=140,
    num_measurable=127,
    num_head=10,
    num_middle=23,
    num_tail=94,
    definition="published",
    cuts=(300, 50),
)
FLOOR = replace(SUMMARY, overall=0.018, head=0.132, middle=0.0275, tail=1.0)


def test_the_table_reads_as_written_here():
    nan = float("nan")
    floors = {"random": FLOOR, "class prior": replace(FLOOR, middle=nan)}
    assert map_table(SUMMARY, floors).splitlines() == [
        "mAP %        overall     head   middle     tail",
        "model          30.55    63.33    38.62    25.09",
        "random          1.80    13.20     2.75   100.00",
        "class prior     1.80    13.20        -   100.00",
        "segments 'published' (test clips: head > 300, tail <= 50): 10/23/94 classes",
        "over 127 of 140 classes; without a test clip: 4 24 34 36 53 63 70 77 86 89 111",
        "  113 126",
    ]


def test_the_last_line_is_short_when_every_class_has_a_test_clip():
    full = replace(SUMMARY, unmeasurable=np.array([], dtype=int), num_classes=12, num_measurable=12)
    assert map_table(full, {}).splitlines()[-1] == "over 12 of 12 classes"


def test_of_many_classes_without_a_test_clip_the_first_are_named():
    many = replace(SUMMARY, unmeasurable=np.arange(700), num_classes=712, num_measurable=12)
    last = " ".join(" ".join(map_table(many, {}).splitlines()[-2:]).split())
    numbers = " ".join(map(str, range(20)))
    assert last == f"over 12 of 712 classes; without a test clip: {numbers} and 680 more"


def test_no_line_reaches_80_columns():
    for definition in ("train", "workbook", "all", "published"):
        wide = replace(
            SUMMARY,
            definition=definition,
            cuts=(123456, 12345),
            unmeasurable=np.arange(140),
            num_measurable=0,
        )
        table = map_table(wide, {"random": FLOOR, "class prior": FLOOR})
        assert max(map(len, table.splitlines())) < 80
        assert not table.endswith("\n")

"""Rows that differ in their numbers alone are read together: faster, and to the same table."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fuzz_annotations import (
    HEADERS,
    annotation,
    check,
    exact_reader_alone,
    fields,
    outcome,
    run_mutations,
    small_pieces,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actionrec.data.annotations import AnnotationError, ClipTable, read_clips
from actionrec.data.ragged import Arrays, Texts
from actionrec.data.rows import csv_rows
from actionrec.data.rows.csv_rows import read_rows, read_stretches, split_path

AK = HEADERS[0]
# Chunk and look-ahead in bytes, block in rows: those in use, and such as end within small files.
PIECES = ((2**18, 2**16, 256), (100, 50, 4), (37, 20, 16), (300, 200, 3))


def clip_rows(clip: str, numbers: range, path: str = "{c}/{c}_t{n:06d}.jpg", labels: str = "2,40"):
    return [f"{clip} 145 {n} {path.format(c=clip, n=n)} {labels} train" for n in numbers]


def write(folder: Path, *rows: str, header: str = AK, end: str = "\n") -> Path:
    path = folder / "train.csv"
    path.write_bytes("".join(row + end for row in (header, *rows)).encode())
    return path


def same_as_row_by_row(path: Path) -> ClipTable:
    table = read_clips(path, num_classes=140, unlabelled_frames=True)
    with exact_reader_alone():
        exact = read_clips(path, num_classes=140, unlabelled_frames=True)
    assert fields(table) == fields(exact)
    return table


@pytest.mark.parametrize("pieces", PIECES, ids=str)
def test_6000_mutated_annotations_read_alike_in_stretches_and_row_by_row(tmp_path, pieces):
    with small_pieces(*pieces):
        tables = run_mutations(tmp_path / "train.csv", 6_000, seed=pieces[0])
    assert tables > 1_200


@settings(max_examples=300, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32), content=st.data())
def test_an_annotation_with_any_bytes_put_in_reads_alike(tmp_path, seed, content):
    made = annotation(random.Random(seed))  # noqa: S311
    place = content.draw(st.integers(0, len(made)))
    more = content.draw(st.binary(max_size=8) | st.text(max_size=4).map(str.encode))
    check(tmp_path / "train.csv", made[:place] + more + made[place:])


def stretches(path: Path) -> list[int]:
    return [stretch[-1] for stretch in read_stretches(path)]


def test_an_ordinary_clip_is_few_stretches(tmp_path):
    path = write(tmp_path, *clip_rows("AAACXZTV", range(1, 701)), *clip_rows("BAACXZTV", range(3)))
    assert stretches(path) == [255, 256, 189, 3]
    table = same_as_row_by_row(path)
    assert len(table.stretch_starts) == len(table.run_starts) == 2
    assert table.frame_paths(0, [699]) == ["AAACXZTV/AAACXZTV_t000700.jpg"]
    assert table.lines.tolist() == [2, 702]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("labels", ["2,40", '"2,40"', '"2, 40"'])
@pytest.mark.parametrize(
    "path",
    ["{c}/{c}_t{n:06d}.jpg", "{c}/{n}.jpg", "{n}", "a{n}b.mp4", "{c}-{n:03d}", "x2/{n:018d}.jpg"],
)
def test_line_ends_quotes_and_kinds_of_path_are_ordinary(tmp_path, end, labels, path):
    file = write(tmp_path, *clip_rows("A", range(8, 120), path, labels), end=end)
    assert stretches(file) == [112]
    assert same_as_row_by_row(file).frame_paths(0, [111]) == [path.format(c="A", n=119)]


@pytest.mark.parametrize("header", HEADERS)
def test_any_order_of_the_columns_is_ordinary(tmp_path, header):
    def row(frame: int) -> str:
        values = {"frame": frame, "path": f"A/{frame + 5}.jpg", "labels": "2,40"}
        values |= {"original": "A", "clip_id": "A", "action": "2,40", "clip_path": values["path"]}
        meanings = ("clip_id", "clip_path", "original", "frame", "path", "labels", "action")
        chosen = [next((m for m in meanings if m in name), "") for name in header.split()]
        return " ".join(str(values.get(meaning, 7)) for meaning in chosen)

    path = write(tmp_path, *map(row, range(1, 101)), header=header)
    assert stretches(path) == [100]
    assert same_as_row_by_row(path).frame_paths(0, [99]) == ["A/105.jpg"]


def changed(rows: list[str], row: int, old: str, new: str) -> list[str]:
    assert old in rows[row]
    return [*rows[:row], rows[row].replace(old, new), *rows[row + 1 :]]


ROWS = clip_rows("A", range(1, 41))


@pytest.mark.parametrize(
    "rows",
    [
        changed(ROWS, 20, "145", "146"),
        changed(ROWS, 20, "2,40", "3,40"),
        changed(ROWS, 39, "2,40", "3,40"),
        changed(ROWS, 39, "train", "test"),
        changed(ROWS, 20, "_t", "_u"),
        changed(ROWS, 20, "000021", "000022"),
        changed(ROWS, 20, " 21 ", " 021 "),
        changed(ROWS, 20, " ", "  "),
        changed(ROWS, 20, " ", "\t"),
        changed(ROWS, 20, "train", "train\r"),
        changed(ROWS, 20, "train", "tr\u2028ain"),
        changed(ROWS, 20, "train", "tr\x1cain"),
        changed(ROWS, 20, "train", ""),
        changed(ROWS, 20, "A/", "../"),
        changed(ROWS, 20, "2,40", "140"),
        changed(ROWS, 20, "A 145", '"A" 145'),
        [*ROWS[:20], "", *ROWS[20:]],
        [*ROWS[:20], *ROWS[21:]],
        [*ROWS[:20], *ROWS[19:]],
        [*ROWS[20:], *ROWS[:20]],
        [row for pair in zip(ROWS, clip_rows("B", range(40)), strict=True) for row in pair],
        ROWS[::-1],
    ],
)
@pytest.mark.parametrize("pieces", PIECES, ids=str)
def test_a_row_that_is_not_as_expected_is_seen(tmp_path, rows, pieces):
    path = write(tmp_path, *rows)
    with small_pieces(*pieces):
        check(path, path.read_bytes())


def test_labels_that_change_and_change_back_within_a_clip_are_seen(tmp_path):
    rows = clip_rows("A", range(60))
    rows[10:20] = clip_rows("A", range(10, 20), labels="3,41")
    table = same_as_row_by_row(write(tmp_path, *rows))
    assert [table.labels(0, k, k).tolist() for k in (9, 10, 19, 20)] == [
        [2, 40],
        [3, 41],
        [3, 41],
        [2, 40],
    ]


def test_a_number_never_goes_on_from_a_path_without_one(tmp_path):
    paths = ["a.", "a.1", "a.2", "a.", "a.1"]
    rows = [f"A 1 {n} {path} 1 train" for n, path in enumerate(paths)]
    assert same_as_row_by_row(write(tmp_path, *rows)).frame_paths(0, range(5)) == paths


def test_rows_beyond_the_limit_are_refused_within_a_stretch_too(tmp_path, monkeypatch):
    monkeypatch.setattr(csv_rows, "MAX_ROWS", 30)
    text = outcome(write(tmp_path, *ROWS))[1]
    assert "more than the 30 rows" in text
    assert outcome(write(tmp_path, *ROWS[:29]))[0] is not None


def test_rows_come_one_by_one_as_they_stand_in_the_file(tmp_path):
    rows = [*clip_rows("A", range(95, 105)), *clip_rows("B", range(3), "x{n}.jpg")]
    found = list(read_rows(write(tmp_path, *rows)))
    assert [row[0] for row in found] == list(range(2, 15))
    assert [" ".join((r[1], "145", *r[2:], "train")) for r in found] == rows


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("x1/x1_t000012.mp4", ("x1/x1_t", "000012", ".mp4")),
        ("12.jpg", ("", "12", ".jpg")),
        ("x1/same.jpg", ("x", "1", "/same.jpg")),
        ("same.mp4", ("same.mp", "4", "")),
        ("same", ("same", "", "")),
        ("9" * 20, ("99", "9" * 18, "")),
    ],
)
def test_a_path_is_split_around_its_last_number(path, parts):
    assert split_path(path) == parts


def test_texts_and_arrays_read_like_tuples():
    texts = Texts.of(["A", "", "1/é", "B"])
    assert texts == ("A", "", "1/é", "B") and len(texts) == 4 and "1/é" in texts
    assert (texts[2], texts[-1], texts[1:3], list(texts)) == ("1/é", "B", ("", "1/é"), [*texts])
    assert texts.take(np.array([3, 0])) == ("B", "A") and texts != ("A",) and texts.index("B") == 3
    assert Texts.of([]) == ()
    with pytest.raises(IndexError):
        texts[4]
    with pytest.raises(TypeError):
        hash(texts)
    arrays = Arrays.of([(1, 2), (), (5,)])
    assert [a.tolist() for a in arrays] == [[1, 2], [], [5]] and arrays.offsets.dtype == np.int64


def test_a_subset_is_read_like_the_whole(tmp_path):
    rows = [r for c in "ABC" for r in clip_rows(c, range(5), labels=str("ABC".index(c)))]
    rows[7:8] = ["B 145 7 odd.png 9 train"]
    table = read_clips(write(tmp_path, *rows), num_classes=140)
    part = table.subset(np.array([2, 1]))
    assert part.ids == ("C", "B") and part.lines.tolist() == [12, 7]
    for clip, origin in enumerate((2, 1)):
        assert part.frame_paths(clip, range(5)) == table.frame_paths(origin, range(5))
        assert part.labels(clip).tolist() == table.labels(origin).tolist()
    np.testing.assert_array_equal(part.targets(140), table.targets(140)[[2, 1]])


def test_a_file_that_cannot_be_read_to_its_end_is_named(tmp_path, monkeypatch):
    def fails(self) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(csv_rows.ByteLines, "look_ahead", fails)
    with pytest.raises(AnnotationError, match=r"train\.csv: cannot be read \(Input/output error\)"):
        read_clips(write(tmp_path, *ROWS), num_classes=140)


def test_the_fuzzer_runs_by_hand(repo):
    done = subprocess.run(
        [sys.executable, "tests/fuzz_annotations.py", "--runs", "20"],
        cwd=repo,
        env={"PYTHONPATH": "code_new"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr

"""Reading a Charades-style CSV: what comes out, against a reader written out the slow way."""

from __future__ import annotations

import pickle
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actionrec.data.annotations import AnnotationError, ClipTable, check_disjoint, read_clips

REPOSITORY = Path(__file__).resolve().parents[1]
AK_HEADER = "original_vido_id video_id frame_id path labels type"
NUM_CLASSES = 140


def write(folder: Path, text: str | bytes, name: str = "train.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder: Path, *rows: str, header: str = AK_HEADER, **options) -> ClipTable:
    path = write(folder, "\n".join([header, *rows, ""]))
    return read_clips(path, num_classes=NUM_CLASSES, **options)


def slow_reader(path: Path) -> dict[str, list[tuple[str, list[int]]]]:
    """SlowFast's meaning of the file: paths and labels by id, in the order of the file."""
    clips = defaultdict(list)
    for line in path.read_text().splitlines()[1:]:
        fields = line.split()
        labels = fields[4].strip('"')
        clips[fields[0]].append((fields[3], [int(x) for x in labels.split(",")] if labels else []))
    return dict(clips)


@st.composite
def csv_files(draw) -> list[str]:
    """Rows of a few clips: mixed order, labels that change, paths with and without a pattern."""
    rows = []
    paths = st.sampled_from(["{c}/{c}_t{n:06d}.jpg", "{n}.png", "a{n}b.jp2", "x/{c}{n}", "same"])
    labels = st.lists(st.integers(0, NUM_CLASSES - 1), min_size=0, max_size=3)
    ids = draw(st.lists(st.sampled_from(["NA", "1E5", "a.b-c_9", "Q"]), unique=True, min_size=1))
    for clip in ids:
        path, label = draw(paths), draw(labels)
        for n in draw(st.lists(st.integers(0, 10**9), unique=True, min_size=1, max_size=12)):
            if draw(st.integers(0, 3)) == 0:
                path, label = draw(paths), draw(labels)
            text = ",".join(map(str, label))
            text = f'"{text}"' if not text or draw(st.booleans()) else text
            rows.append(f"{clip} 1 {n} {path.format(c=clip, n=n)} {text} train")
    return draw(st.permutations(rows))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(rows=csv_files(), data=st.data())
def test_the_table_equals_the_slow_reader(tmp_path, rows, data):
    path = write(tmp_path, "\n".join([AK_HEADER, *rows]))
    expected = slow_reader(path)
    table = read_clips(path, num_classes=NUM_CLASSES, unlabelled_frames=True)
    assert table.ids == tuple(expected)
    assert table.num_frames.tolist() == [len(frames) for frames in expected.values()]
    targets = np.zeros((len(expected), NUM_CLASSES), dtype=np.float32)
    for clip, frames in enumerate(expected.values()):
        assert table.frame_paths(clip, range(len(frames))) == [p for p, _ in frames]
        first = data.draw(st.integers(0, len(frames) - 1))
        last = data.draw(st.integers(first, len(frames) - 1))
        union = sorted({label for _, labels in frames[first : last + 1] for label in labels})
        assert table.labels(clip, first, last).tolist() == union
        targets[clip, [label for _, labels in frames for label in labels]] = 1
    np.testing.assert_array_equal(table.targets(NUM_CLASSES), targets)
    assert table.targets(NUM_CLASSES).dtype == np.float32
    np.testing.assert_array_equal(table.class_counts(NUM_CLASSES), targets.sum(0).astype(np.int64))


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    start=st.sampled_from([b"", b"\xef\xbb\xbf"]),
    last=st.sampled_from([0, 1, 4]),
    quote=st.sampled_from(["2,40", '"2,40"', '"2, 40"', '"40,2"']),
    space=st.sampled_from([" ", "  ", "\t", " \t"]),
    around=st.sampled_from(["", " "]),
)
def test_byte_order_mark_line_ends_quotes_and_spaces_do_not_matter(
    tmp_path, end, start, last, quote, space, around
):
    rows = [AK_HEADER] + [f"A 1 {n} A/A_t{n:06d}.jpg {quote} train" for n in (1, 2, 3)]
    text = end.join(around + row.replace(" ", space) + around for row in rows[:1])
    text += "".join(end + around + row + around for row in rows[1:]) + end * last
    table = read_clips(write(tmp_path, start + text.encode()), num_classes=NUM_CLASSES)
    assert table.ids == ("A",)
    assert table.labels(0).tolist() == [2, 40]
    assert table.frame_paths(0, [2, 0]) == ["A/A_t000003.jpg", "A/A_t000001.jpg"]


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("original_vido_id video_id frame_id path labels", "A 1 1 A/1.jpg 2,40"),
        ("original_video_id video_id frame_id path labels", 'A 1 1 A/1.jpg "2,40"'),
        (AK_HEADER, "A 1 1 A/1.jpg 2,40 train"),
        ("clip_id clip_number frame_number clip_path action_labels", "A 1 1 A/1.jpg 2,40"),
        ("labels path frame_id video_id original_vido_id", "2,40 A/1.jpg 1 1 A"),
        (
            '"original_vido_id" "video_id" "frame_id" "path" "labels"',
            '"A" "1" "1" "A/1.jpg" "2,40"',
        ),
    ],
)
def test_every_spelling_of_the_header_is_read_by_name(tmp_path, header, row):
    table = read(tmp_path, row, header=header)
    assert (table.ids, table.frame_paths(0, [0])) == (("A",), ["A/1.jpg"])
    assert table.labels(0).tolist() == [2, 40]


def test_frames_keep_the_order_of_the_file_and_are_never_sorted_as_text(tmp_path):
    table = read(tmp_path, *(f"A 1 {n} A/{n}.jpg 1 train" for n in (1, 2, 10, 11)))
    assert table.frame_paths(0, range(4)) == ["A/1.jpg", "A/2.jpg", "A/10.jpg", "A/11.jpg"]
    assert table.notes == ()
    as_text = read(tmp_path, *(f"A 1 {n} A/{n}.jpg 1 train" for n in (1, 10, 2)))
    assert as_text.frame_paths(0, range(3)) == ["A/1.jpg", "A/10.jpg", "A/2.jpg"]
    assert "line 2, A" in as_text.notes[0] and "do not rise" in as_text.notes[0]


@pytest.mark.parametrize("clip_id", ["NA", "NULL", "nan", "1E5", "TRUE", "007", "None"])
def test_an_id_is_text_whatever_it_looks_like(tmp_path, clip_id):
    assert read(tmp_path, f"{clip_id} 1 1 a/1.jpg 1 train").ids == (clip_id,)


def test_a_repeated_label_counts_once_and_is_noted(tmp_path):
    table = read(tmp_path, "A 1 1 A/1.jpg 2,2 train", "B 1 1 B/1.jpg 5,2,5 train")
    assert table.labels(0).tolist() == [2]
    assert table.class_counts(NUM_CLASSES)[[2, 5]].tolist() == [2, 1]
    assert len(table.notes) == 1
    assert "2 clips repeat a label" in table.notes[0] and ":2: '2,2'" in table.notes[0]


def test_one_run_a_clip_is_enough_where_the_labels_do_not_change(tmp_path):
    rows = [f"{c} 1 {n} {c}/{c}_t{n:06d}.jpg 1,2 train" for c in "AB" for n in range(50)]
    table = read(tmp_path, *rows)
    assert len(table.run_starts) == 2 and len(table.label_sets) == 1


def test_frames_that_a_clip_does_not_have_are_an_index_error(tmp_path):
    table = read(tmp_path, "A 1 1 A/1.jpg 1 train", "B 1 1 B/1.jpg 1 train")
    for frames in ([1], [-1]):
        with pytest.raises(IndexError):
            table.frame_paths(0, frames)
    for first, last in ((0, 1), (1, 0), (-1, 0)):
        with pytest.raises(IndexError):
            table.labels(0, first, last)
    assert table.frame_paths(0, []) == []


def test_a_table_passes_to_another_process(tmp_path):
    table = pickle.loads(pickle.dumps(read(tmp_path, "A 1 1 A/1.jpg 1,5 train")))
    assert table.frame_paths(0, [0]) == ["A/1.jpg"]
    assert table.labels(0).tolist() == [1, 5]


def test_a_clip_in_both_splits_is_named_with_both_lines(tmp_path):
    train = read(tmp_path, "A 1 1 A/1.jpg 1 train", "B 1 1 B/1.jpg 1 train")
    rows = f"{AK_HEADER}\nC 1 1 C/1.jpg 1 test\nB 1 1 B/1.jpg 1 test\n"
    val = read_clips(write(tmp_path, rows, "val.csv"), num_classes=NUM_CLASSES)
    with pytest.raises(AnnotationError, match=r"val\.csv:3: clip B is also in .*train\.csv:3"):
        check_disjoint(train, val)
    check_disjoint(train, read(tmp_path, "C 1 1 C/1.jpg 1 train"))


def test_the_sample_is_read_and_its_splits_are_disjoint():
    folder = REPOSITORY / "annotations" / "sample"
    train, val = (read_clips(folder / f"{s}.csv", num_classes=3) for s in ("train", "val"))
    check_disjoint(train, val)
    assert train.class_counts(3).min() > 0 and len(val) == 2
    assert train.notes == val.notes == ()

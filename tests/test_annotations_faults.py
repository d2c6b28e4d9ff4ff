"""Annotations that cannot be right: one line with file and line, quickly, and nothing else."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from actionrec.data.annotations import AnnotationError, read_clips
from actionrec.errors import SecurityError

HEADER = "original_vido_id video_id frame_id path labels type"
GOOD = "A 1 1 A/A_t000001.jpg 2,40 train"


def read(folder: Path, content: bytes | str, **options):
    path = folder / "train.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_clips(path, num_classes=140, **options)


def message(folder: Path, content: bytes | str, kind: type = AnnotationError) -> str:
    with pytest.raises(kind) as caught:
        read(folder, content)
    assert caught.type is kind
    text = str(caught.value)
    assert "\n" not in text and text.isprintable() and len(text) < 500
    return text


@pytest.mark.parametrize(
    ("header", "says"),
    [
        ("original_vido_id video_id frame_id path", "lacks labels"),
        (HEADER + " more", "unknown or repeated 'more'"),
        (HEADER + " path", "unknown or repeated 'path'"),
        ("clip_id original_vido_id video_id frame_id path labels", "unknown or repeated 'clip_id'"),
        ("1 2 3 4 5", "unknown or repeated '1'"),
    ],
)
def test_a_wrong_header_is_named(tmp_path, header, says):
    text = message(tmp_path, f"{header}\n{GOOD}\n")
    assert "train.csv:1: the header" in text and says in text
    assert "original_vido_id video_id frame_id path labels [type]" in text


ROW_WITH_COMMAS = 'A,1,1,A/A_t000001.jpg,"2,40",train'


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (f"{HEADER.replace(' ', ',')}\n{ROW_WITH_COMMAS}\n", "1: .* commas between the fields"),
        ("\ufeff" + HEADER.replace(" ", ";") + "\n", "1: .* semicolons between the fields"),
        (f"{HEADER}\r\n{GOOD}\r\n".encode("utf-16"), "1: .* it is UTF-16"),
        (f"{HEADER}\n{GOOD}\n".encode("utf-16-be").join([b"\xfe\xff", b""]), "1: .* it is UTF-16"),
        (f'"{HEADER}"\r\n"{GOOD}"\r\n', "2: .* the whole line is in quotes"),
        (f'{HEADER}\n"A 1 1 A/A.jpg ""2,40"" train"\n', "2: .* the whole line is in quotes"),
        (b"PK\3\4\x14\0\6\0\n", "1: .* it is a workbook"),
    ],
)
def test_a_file_saved_by_a_spreadsheet_program_is_told_as_such(tmp_path, content, says):
    text = message(tmp_path, content)
    assert re.search(f"train.csv:{says}", text), text
    assert "looks saved by a spreadsheet program" in text
    assert text.endswith("with single spaces between the fields, see annotations/README.md")


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("A 1 2 A/2.jpg 2,40", "5 fields, but the header names 6"),
        ("A 1 2 A/2.jpg 2, 40 train", "7 fields"),
        ("A 1 A/2.jpg 2 2,40 train", "frame number 'A/2.jpg'"),
        ("A 1 2 2,40 A/2.jpg train", "label 'A/2.jpg' is not a whole number"),
        ("A 1 -1 A/2.jpg 2,40 train", "frame number '-1'"),
        ("A 1 1.0 A/2.jpg 2,40 train", "frame number '1.0'"),
        ("A 1 \uff12 A/2.jpg 2,40 train", "frame number '\uff12'"),
        ("A 1 2 A/2.jpg -1 train", "label -1 is outside 0..139"),
        ("A 1 2 A/2.jpg 140 train", "label 140 is outside 0..139; check MODEL.NUM_CLASSES"),
        ("A 1 2 A/2.jpg 1" + 30 * "0" + " train", "is outside 0..139"),
        ("A 1 2 A/2.jpg 1e3 train", "label '1e3' is not a whole number"),
        ("A 1 2 A/2.jpg 1.0 train", "label '1.0'"),
        ("A 1 2 A/2.jpg nan train", "label 'nan'"),
        ("A 1 2 A/2.jpg \uff11 train", "label '\uff11'"),
        ("A 1 2 A/2.jpg 2, train", "label ''"),
        ("A 1 2 A/2.jpg 2;40 train", "label '2;40'"),
        ('A 1 2 A/2.jpg "" train', "no label; only with TRAIN.DATASET charades"),
        ('A 1 2 A/2.jpg "2,40 train', "a quote is not closed"),
        ('A 1 2 A/2.jpg 2,"40" train', "a quote is not closed"),
        ("A 1 2 A/2.jpg 2,40 tra\0in", "control characters"),
        ("A 1 2 A/2.jpg 2,40 " + "x" * 2**21, "longer than 1,048,576 characters"),
        ("A 1 2 A/2.jpg " + "1," * 2**20 + "1 train", "longer than 1,048,576 characters"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(tmp_path, row, says):
    text = message(tmp_path, f"{HEADER}\n{GOOD}\n\n{row}\n")
    assert "train.csv:4: " in text and says in text


def test_a_frame_without_a_label_is_accepted_where_the_data_set_has_such(tmp_path):
    rows = f'{HEADER}\n{GOOD}\nA 1 2 A/A_t000002.jpg "" train\n'
    table = read(tmp_path, rows, unlabelled_frames=True)
    assert table.labels(0, 1, 1).tolist() == []
    assert table.labels(0).tolist() == [2, 40]


@pytest.mark.parametrize("labels", ["2,40", "7"])
def test_a_frame_that_comes_twice_is_named_with_both_lines(tmp_path, labels):
    other = "B 1 1 B/1.jpg 1 train"
    text = message(tmp_path, f"{HEADER}\n{GOOD}\n{other}\nA 1 01 A/2.jpg {labels} train\n")
    assert "train.csv:4: frame 1 of clip A is already in line 2" in text


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"caf\xe9", b"\xed\xa0\x80"])
def test_bytes_that_are_not_utf8_are_named_with_their_line(tmp_path, raw):
    row = b"A 1 2 A/" + raw + b"2.jpg 2,40 train\n"
    text = message(tmp_path, HEADER.encode() + b"\n" + GOOD.encode() + b"\n" + row)
    assert "train.csv:3: is not UTF-8" in text


IDS = [
    "../A",
    "/A",
    "a\\b",
    "A\0",
    "~A",
    "A..B",
    "..",
    ".A",
    "-A",
    "_A",
    "A/B",
    "A" * 129,
    "\u00e9",
]


@pytest.mark.parametrize("clip_id", IDS)
def test_an_id_that_could_leave_its_folder_is_refused(tmp_path, clip_id):
    text = message(tmp_path, f"{HEADER}\n{clip_id} 1 1 A/1.jpg 1 train\n", SecurityError)
    assert "train.csv:2: clip id" in text


PATHS = ["../A.jpg", "A/../../b.jpg", "/etc/1.jpg", "~/1.jpg", "A\\1.jpg", "C:/1.jpg", "A\x001.jpg"]


@pytest.mark.parametrize("path", [*PATHS, "A" * 1025, '""', '"A\u20281.jpg"'])
def test_a_path_that_could_leave_its_folder_is_refused(tmp_path, path):
    text = message(tmp_path, f"{HEADER}\n{GOOD}\nA 1 2 {path} 2,40 train\n", SecurityError)
    assert "train.csv:3: frame path" in text and "DATA.PATH_PREFIX" in text


@pytest.mark.parametrize(
    "text", ["", HEADER, HEADER + "\n", "\n\n \n", "\ufeff", HEADER + "\n\n\n"]
)
def test_a_file_without_rows_is_an_error(tmp_path, text):
    assert "train.csv" in message(tmp_path, text)


@pytest.mark.parametrize("kind", ["folder", "fifo", "device", "missing", "nul"])
def test_what_is_no_regular_file_is_refused_at_once(tmp_path, kind):
    path = tmp_path / "x.csv"
    if kind == "folder":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    path = {"device": Path("/dev/zero"), "nul": Path("a\0b")}.get(kind, path)
    started = time.monotonic()
    with pytest.raises(AnnotationError, match="is a folder|not a regular file|cannot be read"):
        read_clips(path, num_classes=140)
    assert time.monotonic() - started < 1


def test_a_file_beyond_the_limit_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "huge.csv"
    with path.open("wb") as file:
        file.truncate(8 * 2**30)
    started = time.monotonic()
    with pytest.raises(AnnotationError, match="8,589,934,592 bytes"):
        read_clips(path, num_classes=140)
    assert time.monotonic() - started < 1


PIECES = [*(HEADER + "\n", GOOD + "\n", "A 1 2 A/A_t000002.jpg 2 test\r\n", '"', " ", "\r", "\0")]
PIECES += ["B 9 7 x.jpg 0 t\n", "140", "\ufeff", "../", "\u2028", "1,", "\n", "\t"]


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@example(content=b"\x00")
@given(
    content=st.binary(max_size=200)
    | st.lists(st.sampled_from(PIECES), max_size=12).map(lambda p: "".join(p).encode())
    | st.lists(st.sampled_from(PIECES), max_size=12).map(
        lambda p: (HEADER + "\n" + GOOD + "\n" + "".join(p)).encode()
    )
)
def test_any_bytes_give_one_line_or_a_table_that_holds_together(tmp_path, content):
    try:
        table = read(tmp_path, content)
    except (AnnotationError, SecurityError) as error:
        assert "\n" not in str(error) and str(error).isprintable()
        return
    assert len(table) == len(set(table.ids)) == len(table.lines) > 0
    assert table.num_frames.min() > 0
    assert len(table.stretch_numbers) == len(table.stretch_digits) == len(table.stretch_starts)
    assert (np.diff(table.run_starts) > 0).all()
    assert table.targets(140).sum(axis=1).min() > 0
    for clip, num_frames in enumerate(table.num_frames):
        for path in table.frame_paths(clip, range(num_frames)):
            assert path and not path.startswith("/") and ".." not in path.split("/")

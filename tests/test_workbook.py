"""Workbooks and class tables: what is read, what is refused, what is written."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actionrec.data.class_table import class_table_bytes, read_class_names, write_class_table
from actionrec.data.input_checks import AnnotationError
from actionrec.data.workbook import count_conflicts, read_class_counts, read_sheet
from actionrec.errors import SecurityError

REPOSITORY = Path(__file__).resolve().parents[1]
OFFICIAL = REPOSITORY.parent / "shared" / "data" / "animal_kingdom" / "df_action.xlsx"
HEADER = ["S/N", "action_category", "action", "index", "segment", "count"]


def save(path: Path, rows: list[list], title: str = "AR_count", change=None) -> Path:
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    if change:
        change(book)
    book.save(path)
    return path


def table(folder: Path, *rows: list, change=None, title: str = "AR_count") -> Path:
    return save(folder / "table.xlsx", [HEADER, *rows], title, change)


def rewrite(path: Path, part: str, change) -> Path:
    """The same archive with the bytes of one part changed."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    parts[part] = change(parts[part])
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return path


TWO = ([1, "Feeding", "Eating", 1, "tail", 7], [2, "Resting", "Sleeping", 0, "tail", 3])


def test_counts_and_names_are_matched_by_index_not_by_row(tmp_path):
    path = table(tmp_path, *TWO)
    assert read_class_counts(path, 2).tolist() == [3, 7]
    assert read_class_counts(path, 2).dtype == np.int64
    assert read_class_names(path, 2) == ("Sleeping", "Eating")


def test_counts_without_an_index_are_in_the_order_of_the_rows(tmp_path):
    path = save(tmp_path / "x.xlsx", [["count"], [5], [4.0], ["6"], [None]], title="Sheet1")
    assert read_class_counts(path, 3).tolist() == [5, 4, 6]


def test_the_named_sheet_comes_before_the_first(tmp_path):
    def second(book):
        book.create_sheet("AR_count", 1).append(["count"])
        book["AR_count"].append([9])

    assert read_class_counts(table(tmp_path, *TWO, title="notes", change=second), 1).tolist() == [9]


def test_each_class_that_disagrees_is_one_line():
    lines = count_conflicts(np.array([3, 7, 1]), np.array([3, 8, 0]))
    assert lines == [
        "class 1: 7 in the workbook, 8 training clips",
        "class 2: 1 in the workbook, 0 training clips",
    ]


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([[1, "F", "Eating", 1, "tail", 7]], "names 1 classes, but MODEL.NUM_CLASSES is 2"),
        ([*TWO, TWO[0]], "names 3 classes, but MODEL.NUM_CLASSES is 2"),
        ([TWO[0], TWO[0]], r"row 3: index 1 is already in .*row 2"),
        ([TWO[0], [2, "R", "S", 2, "tail", 3]], r"row 3: index 2 is outside 0\.\.1"),
        ([TWO[0], [2, "R", "S", None, "tail", 3]], "row 3: index is empty, or a formula"),
        ([TWO[0], [2, "R", "S", 0, "tail", -3]], "row 3: count is '-3', int"),
        ([TWO[0], [2, "R", "S", 0, "tail", 3.5]], r"row 3: count is '3\.5', float"),
        ([TWO[0], [2, "R", "S", 0, "tail", True]], "row 3: count is 'True', bool"),
        ([TWO[0], [2, "R", "S", 0, "tail", "#N/A"]], "row 3: count is '#N/A', str"),
        ([TWO[0], [2, "R", "S", 0, "tail", "=1+2"]], "count is empty, or a formula without"),
    ],
)
def test_a_wrong_class_table_is_named_with_its_row(tmp_path, rows, says):
    with pytest.raises(AnnotationError, match=says) as caught:
        read_class_counts(table(tmp_path, *rows), 2)
    assert "table.xlsx" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_sheet_and_a_missing_column_list_what_there_is(tmp_path):
    path = table(tmp_path, *TWO, title="Other")
    with pytest.raises(AnnotationError, match="has no sheet 'AR', only 'Other'"):
        read_sheet(path, "AR", ["video_id"])
    with pytest.raises(AnnotationError, match="no column 'Label', only 'S/N', 'action_category'"):
        read_sheet(path, "Other", ["Label"])
    twice = save(tmp_path / "twice.xlsx", [["count", "count"], [1, 2]])
    with pytest.raises(AnnotationError, match="names the column 'count' twice"):
        read_class_counts(twice, 1)


def test_hidden_rows_and_merged_cells_are_named(tmp_path):
    def hide(book):
        book.active.row_dimensions[3].hidden = True

    def merge(book):
        book.active.merge_cells("F2:F3")

    with pytest.raises(AnnotationError, match="sheet 'AR_count': row 3 is hidden"):
        read_class_counts(table(tmp_path, *TWO, change=hide), 2)
    with pytest.raises(AnnotationError, match="cells F2:F3 are merged"):
        read_class_counts(table(tmp_path, *TWO, change=merge), 2)


def test_a_declared_size_that_is_too_small_cuts_nothing_off(tmp_path):
    def lie(sheet: bytes) -> bytes:
        return re.sub(rb'<dimension ref="[^"]*"', b'<dimension ref="A1:B2"', sheet)

    path = rewrite(table(tmp_path, *TWO), "xl/worksheets/sheet1.xml", lie)
    assert read_class_counts(path, 2).tolist() == [3, 7]


def test_row_and_column_numbers_in_the_file_do_not_decide_how_much_is_made(tmp_path):
    def jump(sheet: bytes) -> bytes:
        cells = b'<row r="999999999"><c r="ZZZ999999999" t="n"><v>1</v></c></row></sheetData>'
        return sheet.replace(b"</sheetData>", cells)

    path = rewrite(table(tmp_path, *TWO), "xl/worksheets/sheet1.xml", jump)
    assert read_class_counts(path, 2).tolist() == [3, 7]


READ_IN_A_SMALL_PROCESS = """
import resource, sys
from pathlib import Path
from actionrec.data.workbook import read_class_counts
from actionrec.errors import SecurityError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_class_counts(Path(sys.argv[1]), 2)
except SecurityError as error:
    print(error)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_a_zip_bomb_is_refused_by_its_declared_size_without_unpacking_it(tmp_path):
    cell = b'<c r="A9" t="inlineStr"><is><t>' + b"x" * 150_000_000 + b"</t></is></c>"
    path = rewrite(
        table(tmp_path, *TWO),
        "xl/worksheets/sheet1.xml",
        lambda s: s.replace(b"</sheetData>", b'<row r="9">' + cell + b"</row></sheetData>"),
    )
    assert path.stat().st_size < 1_000_000
    done = subprocess.run(
        [sys.executable, "-c", READ_IN_A_SMALL_PROCESS, str(path)],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(REPOSITORY / "code_new"), "OMP_NUM_THREADS": "1"},
    )
    said, grown_kib = done.stdout.splitlines()
    assert "would unpack to 150," in said and int(grown_kib) < 20_000


@pytest.mark.parametrize("part", ["xl/worksheets/sheet1.xml", "xl/workbook.xml", "_rels/.rels"])
def test_xml_entities_are_refused(tmp_path, part):
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
    path = rewrite(table(tmp_path, *TWO), part, lambda xml: bomb + xml)
    with pytest.raises(SecurityError, match="defines XML entities"):
        read_class_counts(path, 2)


def small_workbook() -> bytes:
    content = io.BytesIO()
    book = openpyxl.Workbook()
    book.active.append(["count"])
    book.active.append([1])
    book.save(content)
    return content.getvalue()


GOOD_WORKBOOK = small_workbook()


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_workbooks_give_one_line_or_the_numbers(tmp_path, data):
    content = bytearray(GOOD_WORKBOOK)
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.xlsx"
    path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    try:
        assert read_class_counts(path, 1).shape == (1,)
    except (AnnotationError, SecurityError) as error:
        assert "damaged.xlsx" in str(error) and "\n" not in str(error)


def test_what_is_no_workbook_is_one_line(tmp_path):
    for content in (b"a,b\n1,2\n", b"PK\x03\x04", b"{}"):
        (tmp_path / "x.xlsx").write_bytes(content)
        with pytest.raises(AnnotationError, match=r"x\.xlsx: is not a readable \.xlsx workbook"):
            read_class_counts(tmp_path / "x.xlsx", 2)
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_class_counts(tmp_path / "none.xlsx", 2)
    with pytest.raises(AnnotationError, match="is a folder"):
        read_class_counts(tmp_path, 2)


names_and_counts = st.lists(
    st.tuples(
        st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=1),
        st.integers(0, 10**6),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(classes=names_and_counts)
def test_a_written_table_is_read_back_as_it_was(tmp_path, classes):
    names, counts = zip(*classes, strict=True)
    write_class_table(tmp_path / "t.xlsx", names, counts)
    assert read_class_names(tmp_path / "t.xlsx", len(names)) == names
    assert read_class_counts(tmp_path / "t.xlsx", len(names)).tolist() == list(counts)


def test_a_written_table_has_the_official_columns_ranks_and_segments(tmp_path):
    counts = [100, 501, 500, 101, 0]
    write_class_table(tmp_path / "t.xlsx", list("abcde"), counts, ["Feeding"] * 5)
    sheet = openpyxl.load_workbook(tmp_path / "t.xlsx")["AR_count"]
    rows = list(sheet.iter_rows(values_only=True))
    assert list(rows[0]) == HEADER
    assert rows[1] == (4, "Feeding", "a", 0, "tail", 100)
    assert [(r[0], r[4]) for r in rows[2:]] == [
        (1, "head"),
        (2, "middle"),
        (3, "middle"),
        (5, "tail"),
    ]


def test_equal_tables_have_equal_bytes_at_any_time(monkeypatch):
    first = class_table_bytes(["a", "=b"], [1, 2])
    monkeypatch.setattr("time.time", lambda: 2e9)
    monkeypatch.setattr("time.localtime", lambda *_: (2033, 5, 18, 3, 33, 20, 2, 138, 0))
    assert class_table_bytes(["a", "=b"], [1, 2]) == first
    with zipfile.ZipFile(io.BytesIO(first)) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert b"1980-01-01T00:00:00Z" in archive.read("docProps/core.xml")


def test_names_from_json_are_in_the_order_of_their_labels(tmp_path):
    path = tmp_path / "names.json"
    path.write_text(json.dumps({"Eating": 1, "Attending": 0}))
    assert read_class_names(path, 2) == ("Attending", "Eating")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "is not JSON"),
        ("[1]", "must be one object"),
        ('{"a": 0, "b": 0}', "label 0 has two names, 'a' and 'b'"),
        ('{"a": 0, "b": 2}', r"label '2' of 'b' is outside 0\.\.1"),
        ('{"a": 0, "b": true}', "outside"),
        ('{"a": 0, "b": "1"}', "outside"),
        ('{"a": 0}', "names 1 classes, but MODEL.NUM_CLASSES is 2; label 1 has none"),
        ('{"a": 0, " ": 1}', "label 1 has no readable name"),
        ("[" * 100_000, "is not JSON"),
    ],
)
def test_wrong_names_in_json_are_one_line(tmp_path, text, says):
    (tmp_path / "names.json").write_text(text)
    with pytest.raises(AnnotationError, match=says):
        read_class_names(tmp_path / "names.json", 2)


@pytest.mark.skipif(not OFFICIAL.is_file(), reason="the official df_action.xlsx is not here")
def test_the_official_table_has_140_classes_cut_at_500_and_100():
    counts = read_class_counts(OFFICIAL, 140)
    assert counts.sum() == 48_038
    assert [(counts > 500).sum(), (counts <= 100).sum()] == [17, 94]
    assert read_class_names(OFFICIAL, 140)[139] == "Yawning"
    with pytest.raises(AnnotationError, match="names 140 classes, but MODEL.NUM_CLASSES is 12"):
        read_class_names(OFFICIAL, 12)

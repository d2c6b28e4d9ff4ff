"""The doctor on workbooks: what contradicts what, on small ones and on the official ones."""

from __future__ import annotations

import re
import time
from pathlib import Path

import openpyxl
import pytest

from actionrec.data.class_table import read_class_names, write_class_table
from actionrec.data.doctor.clip_texts import MAX_TEXT_CHARS, ClipText, named_in
from actionrec.data.doctor.examination import Request, examine
from actionrec.data.doctor.findings import Report, Severity
from actionrec.data.frame_lists import fixed_number
from actionrec.data.make_annotations import make_annotations
from actionrec.data.workbook import read_class_counts

CLIPS = [  # Eating 0, Flying 1, Moving 2, by the texts
    ("AAAA", "train", "0", "[('Crane', 'Eating')]"),
    ("BBBB", "train", "1", "[('Crane', 'Flying')]"),
    ("CCCC", "train", "2,1", "['[(\"Russell\\'S Viper\", \\'Moving\\')]', ('Viper', 'Flying')]"),
    ("DDDD", "test", "2", "[('Snake', 'Moving'), ('Snake', 'Eating')]"),
    ("EEEE", "test", "2", "[('Snake', 'Moving')]"),
    ("FFFF", "test", "1", "__import__('os').mkdir('canary')"),
]
NAMES = ["Eating", "Flying", "Moving"]


def workbook(path: Path, names=NAMES, clips=CLIPS, unseen=()) -> Path:
    book = openpyxl.Workbook()
    book.active.title = "AR"
    book.active.append(["S/N", "video_id", "type", "labels", "list_animal_action"])
    for number, clip in enumerate(clips, start=1):
        book.active.append([number, *clip])
    actions = book.create_sheet("Action")
    actions.append(["Label", "Category", "Action"])
    for label, name in enumerate(names):
        actions.append([label, f"of {name}", name])
    sheet = book.create_sheet("CARe")
    sheet.append(["S/N", "train_test", "video_id", "action"])
    for row in unseen:
        sheet.append([1, *row])
    book.save(path)
    return path


@pytest.fixture
def made(tmp_path) -> Path:
    """A folder with AR_metadata.xlsx and the annotation that is made from it."""
    make_annotations(workbook(tmp_path / "AR_metadata.xlsx"), tmp_path / "annot", fixed_number(2))
    return tmp_path


def check(folder: Path, **what) -> Report:
    return examine(Request(folder / "annot", folder / "AR_metadata.xlsx", **what))


def all_of(report: Report, kind: str) -> list:
    return [f for f in report.findings if f.kind == kind]


@pytest.mark.parametrize(
    ("text", "actions", "num_inner"),
    [
        ("[('Snake', 'Moving')]", {"moving"}, 0),
        ("[('Snake', 'Keeping  Still'), ('Frog', 'keeping still')]", {"keeping still"}, 0),
        ("['[(\"Bay\\'S Duiker\", \\'Walking\\')]']", {"walking"}, 1),
        ("[]", set(), 0),
        ("__import__('os').system('x')", set(), 0),
        ("('a', 'b'" * 9, set(), 0),
    ],
)
def test_the_actions_of_a_text_are_found_without_running_it(text, actions, num_inner):
    assert named_in(text) == ClipText(frozenset(actions), num_inner)


@pytest.mark.parametrize("piece", ["[(", ", '", "('a', 'b'), ", "\\'", ",   ", "', "])
def test_a_text_made_to_be_slow_is_not(piece):
    started = time.monotonic()
    named_in(piece * (10 * MAX_TEXT_CHARS))
    assert time.monotonic() - started < 1


def test_a_table_that_agrees_with_the_clips_has_no_warning(made):
    report = check(made)
    assert not all_of(report, "names_against_clips") and report.exit_code == 0
    assert not (made / "canary").exists() and not Path("canary").exists()


def test_swapped_names_are_found_by_the_clips_own_texts(made):
    table = made / "annot/df_action.xlsx"
    table.unlink()
    write_class_table(table, ["eating", "Moving", "Flying"], [1, 2, 1])
    report = check(made)
    (found,) = all_of(report, "names_against_clips")
    assert found.severity is Severity.WARNING and report.exit_code == 3
    assert found.examples == (
        "class 1 'Moving': 2 of 3 clips name 'flying', 1 of 2 without another label",
        "class 2 'Flying': 3 of 3 clips name 'moving', 2 of 2 without another label",
    )
    (found,) = all_of(report, "names_disagree")
    assert found.examples[0] == (
        "class 1: 1 of 3 clips name 'Moving', 0 of 2 without another label; "
        "2 of 3 clips name 'Flying', 1 of 2 without another label"
    )


def test_names_that_both_sheets_have_swapped_are_found_and_corrected(tmp_path):
    book = workbook(tmp_path / "AR_metadata.xlsx", names=["Eating", "Moving", "Flying"])
    make_annotations(book, tmp_path / "annot", fixed_number(2))
    report = check(tmp_path, corrected=tmp_path / "new.xlsx")
    assert [f.severity for f in all_of(report, "names_against_clips")] == [
        Severity.WARNING,
        Severity.NOTE,
    ]
    assert read_class_names(tmp_path / "new.xlsx", 3) == ("Eating", "Flying", "Moving")
    sheet = openpyxl.load_workbook(tmp_path / "new.xlsx").active
    assert [row[1].value for row in sheet.iter_rows(min_row=2)] == [f"of {n}" for n in NAMES]
    assert "  class 1: 'Moving' is now 'Flying': 2 of 3 clips name 'Flying'" in report.written[1]
    (tmp_path / "new.xlsx").replace(tmp_path / "annot/df_action.xlsx")
    assert check(tmp_path).exit_code == 0


def test_two_classes_never_get_one_name(made):
    clips = [
        (*clip[:3], "" if clip[0] == "AAAA" else clip[3].replace("Eating", "x")) for clip in CLIPS
    ]
    workbook(made / "AR_metadata.xlsx", clips=clips)
    write_class_table(made / "annot/df_action.xlsx", ["Moving", "Flying", "Resting"], [1, 2, 1])
    report = check(made, corrected=made / "new.xlsx")
    (found,) = all_of(report, "class_table_not_written")
    assert "the classes 0 and 2 would both be 'Moving'" in found.what
    assert not (made / "new.xlsx").exists()


def test_texts_that_cannot_replace_the_labels_are_counted(made):
    report = check(made)
    (inner,) = all_of(report, "texts_in_texts")
    assert "1 elements in 1 clips" in inner.what and inner.examples == ("CCCC",)
    (other,) = all_of(report, "texts_of_other_number")
    assert other.examples == ("DDDD", "FFFF")


def test_the_annotation_is_compared_with_the_workbook(made):
    lines = (made / "annot/train.csv").read_text().splitlines(keepends=True)
    moved = [line for line in lines if line.startswith("AAAA")]
    kept = [line.replace(" 1 train", " 0 train") for line in lines if line not in moved]
    kept = [line for line in kept if not line.startswith("CCCC")]
    (made / "annot/train.csv").write_text("".join(kept))
    with (made / "annot/val.csv").open("a") as file:
        file.writelines([*moved, "NEWW 9 1 NEWW/1.jpg 0 test\n"])
    report = check(made)
    examples = {f.kind: f.examples for f in report.findings}
    assert examples["left_out"] == ("CCCC",) and examples["not_official"] == ("NEWW",)
    assert examples["other_split"] == ("AAAA",) and examples["other_labels"] == ("BBBB",)
    assert report.exit_code == 3


def test_a_workbook_of_other_classes_is_a_warning(made):
    workbook(made / "AR_metadata.xlsx", names=[*NAMES, "Resting"])
    report = check(made, corrected=made / "new.xlsx")
    assert all_of(report, "other_classes")[0].severity is Severity.WARNING
    assert "the sources have 3 4 classes" in all_of(report, "class_table_not_written")[0].what


def test_an_unreadable_workbook_is_an_error_and_the_rest_is_still_read(made):
    (made / "AR_metadata.xlsx").write_bytes(b"PK\3\4")
    report = check(made)
    assert all_of(report, "workbook")[0].severity is Severity.ERROR
    assert len(report.facts) == 2


def test_clips_of_unseen_animals_that_stand_twice_are_counted(made):
    unseen = [("train_bird", "XXXX", 0), ("baseline", "XXXX", 0), ("test", "YYYY", 1)]
    workbook(made / "AR_metadata.xlsx", unseen=unseen)
    report = check(made)
    assert (
        "lists 2 clips, of which 0 are in sheet AR"
        in all_of(report, "unseen_animals_clips")[0].what
    )
    assert all_of(report, "unseen_animals_twice")[0].examples == ("1 in 'baseline and train_bird'",)
    assert (
        "its 2 actions (0 1), and nothing names them"
        in all_of(report, "unseen_animals_names")[0].what
    )


@pytest.fixture(scope="module")
def official(tmp_path_factory, shared_data) -> Report:
    """The official workbooks, with an annotation that is made from them."""
    folder = tmp_path_factory.mktemp("official")
    metadata = shared_data / "AR_metadata.xlsx"
    make_annotations(metadata, folder / "annot", fixed_number(1))
    (folder / "annot/df_action.xlsx").write_bytes((shared_data / "df_action.xlsx").read_bytes())
    report = examine(Request(folder / "annot", metadata, corrected=folder / "new.xlsx"))
    report.facts["new"] = {"at": str(folder / "new.xlsx")}
    return report


def labels_in(found) -> list[int]:
    return [int(re.search(r"class (\d+)", example)[1]) for example in found.examples]


def test_official_names_are_swapped_in_one_sheet_or_in_both(official):
    table, sheet = all_of(official, "names_against_clips")
    assert labels_in(table) == [49, 50, 70, 74, 81, 82, 83, 84]
    assert labels_in(sheet) == [70, 74]
    assert labels_in(*all_of(official, "names_disagree")) == [49, 50, 81, 82, 83, 84]
    alone = {49: 39, 50: 3, 70: 1, 74: 15, 82: 2, 84: 11}
    for label, example in zip(labels_in(table), table.examples, strict=True):
        assert ("without another label" in example) == (label in alone)
        n = alone.get(label)
        assert n is None or example.endswith(f", {n} of {n} without another label")
    (note,) = all_of(official, "workbook_note")
    assert "Yawning has label '#N/A'; it got 139" in note.what


def test_official_counts_contradict_the_labels(official):
    (counts,) = all_of(official, "table_counts")
    assert "11 of 140 counts equal the training clips, 33 those of both splits" in counts.what
    assert "its sum is 48,038, the labels are 51,973 in training, 64,904 in both" in counts.what
    (segments,) = all_of(official, "table_segments")
    assert labels_in(segments) == [10, 46, 49, 50, 76, 84, 99, 108, 118, 121, 128]
    assert "equal in 3 of 140 rows" in all_of(official, "serial_number")[0].what


def test_official_classes_that_cannot_be_measured_or_learned(official):
    said = {f.kind: f.examples for f in official.findings}
    none = "4 24 34 36 53 63 70 77 86 89 111 113 126".split()
    assert list(said["no_test_clip"]) == none and len(said["few_test_clips"]) == 41
    assert len(said["one_train_clip"]) == 5 and len(said["few_train_clips"]) == 17
    assert "no_train_clip" not in said


def test_official_texts_cannot_replace_the_labels(official):
    (inner,) = all_of(official, "texts_in_texts")
    assert "651 elements in 411 clips" in inner.what
    (other,) = all_of(official, "texts_of_other_number")
    assert (other.count, "(2,182 without" in other.what) == (2193, True)


def test_official_clips_of_unseen_animals_are_a_data_set_of_their_own(official):
    (clips,) = all_of(official, "unseen_animals_clips")
    assert "lists 6,090 clips, of which 0 are in sheet AR" in clips.what
    (twice,) = all_of(official, "unseen_animals_twice")
    assert "has 10,526 rows" in twice.what and twice.count == 4436
    assert all_of(official, "unseen_animals_names")[0].count == 8


def test_official_table_corrected_has_the_names_and_counts_of_the_clips(official):
    new = Path(official.facts["new"]["at"])
    names, counts = read_class_names(new, 140), read_class_counts(new, 140)
    assert [names[label] for label in (49, 50, 70, 74)] == [
        "Flapping Tail",
        "Flapping its ears",
        "Lying on its side",
        "Lying Down",
    ]
    assert [names[label] for label in (81, 82, 83, 84)] == [
        "Performing Sexual Display",
        "Performing allo-grooming",
        "Performing allo-preening",
        "Performing copulatory mounting",
    ]
    assert counts.sum() == 51_973 and len(set(names)) == 140
    assert sum(line.startswith("  class ") for line in official.written) == 8
    assert official.exit_code == 3

"""The doctor on annotations and class tables, and the command that a user types."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import openpyxl
import pytest

from actionrec.data.class_table import read_class_names, write_class_table
from actionrec.data.demo import make_demo
from actionrec.data.doctor.examination import Request, examine
from actionrec.data.doctor.findings import Report, Severity
from actionrec.data.doctor.page import page
from actionrec.data.workbook import read_class_counts
from actionrec.errors import UserError

REPOSITORY = Path(__file__).resolve().parents[1]
HEADER = "original_vido_id video_id frame_id path labels type\n"


@pytest.fixture(scope="module")
def demo(tmp_path_factory) -> Path:
    """Six small clips, three a split, as images and as videos."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    make_demo(folder, clips_per_split=3)
    return folder


def doctor(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    tool = REPOSITORY / "code_new" / "tools" / "doctor.py"
    return subprocess.run(
        [sys.executable, str(tool), *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
    )


def annotation(folder: Path, train: dict[str, str], val: dict[str, str], frames: int = 2) -> Path:
    """A folder with train.csv and val.csv: clip ids with their labels."""
    for name, clips in (("train.csv", train), ("val.csv", val)):
        rows = [
            f"{clip_id} 1 {n} {clip_id}/{clip_id}_t{n:06d}.jpg {labels} x\n"
            for clip_id, labels in clips.items()
            for n in range(1, frames + 1)
        ]
        (folder / name).write_text(HEADER + "".join(rows))
    return folder


def kinds(report: Report) -> dict[str, Severity]:
    return {finding.kind: finding.severity for finding in report.findings}


def finding(report: Report, kind: str):
    return next(f for f in report.findings if f.kind == kind)


def test_sample_data_have_nothing_but_notes(demo):
    done = doctor(demo, "--annot", "annot", "--images", "image", "--videos", "video")
    assert (done.returncode, done.stderr) == (0, "")
    assert "annot/train.csv: 3 clips, " in done.stdout
    assert "image headers of image: 6 clips, " in done.stdout and "all 128x96 px" in done.stdout
    assert done.stdout.endswith("notes\n") and "0 errors, 0 warnings, " in done.stdout


def test_the_json_says_the_same_and_two_runs_write_the_same_bytes(demo, tmp_path):
    for name in ("one.json", "two.json"):
        done = doctor(demo, "--annot", "annot", "--videos", "video", "--json", tmp_path / name)
    content = json.loads((tmp_path / "one.json").read_bytes())
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    assert content["exit_code"] == done.returncode == 0
    assert content["facts"]["annot/train.csv"]["clips"] == 3
    for found in content["findings"]:
        assert found["severity"] == "note" and f"note: {found['what']}\n" in done.stdout


def test_a_clip_in_both_splits_is_an_error(tmp_path):
    annotation(tmp_path, {"AAAA": "0", "BBBB": "1"}, {"BBBB": "1"})
    report = examine(Request(tmp_path, num_classes=2))
    assert finding(report, "in_both_splits").examples == ("BBBB",)
    assert (kinds(report)["in_both_splits"], report.exit_code) == (Severity.ERROR, 2)


def test_a_csv_that_no_run_would_read_is_an_error_and_the_other_is_still_read(tmp_path):
    annotation(tmp_path, {"AAAA": "0,7"}, {"BBBB": "1"})
    done = doctor(tmp_path, "--annot", ".", "--num-classes", 2)
    assert done.returncode == 2
    assert "error: train.csv:2: label 7 is outside 0..1" in done.stdout
    assert "val.csv: 1 clips" in done.stdout and "Traceback" not in done.stderr


def test_what_the_reader_noted_is_said(tmp_path):
    annotation(tmp_path, {"AAAA": "0,0", "BBBB": "1"}, {"CCCC": "1"})
    rows = (tmp_path / "val.csv").read_text().splitlines(keepends=True)
    (tmp_path / "val.csv").write_text("".join([rows[0], rows[2], rows[1]]))
    report = examine(Request(tmp_path, num_classes=2))
    notes = [f.what for f in report.findings if f.kind == "reader_note"]
    assert "1 clips repeat a label within a row" in notes[0]
    assert "in 1 clips the frame numbers do not rise" in notes[1]
    assert report.exit_code == 0


def test_classes_with_few_clips_are_listed(tmp_path):
    clips = {f"A{n}": "0" for n in range(6)} | {f"B{n}": "1" for n in range(4)} | {"C0": "2"}
    annotation(tmp_path, clips, {"Z0": "0", "Z1": "1,3"})
    report = examine(Request(tmp_path, num_classes=4))
    said = {f.kind: f.examples for f in report.findings}
    assert said["no_train_clip"] == ("3",) and said["one_train_clip"] == ("2",)
    assert said["few_train_clips"] == ("1",)
    assert said["no_test_clip"] == ("2",) and said["few_test_clips"] == ("0", "1", "3")
    assert report.exit_code == 0


def test_frames_without_a_label_are_allowed_for_charades_alone(tmp_path):
    annotation(tmp_path, {"AAAA": '""', "BBBB": "0"}, {"CCCC": "0"})
    assert examine(Request(tmp_path, num_classes=1)).exit_code == 2
    assert examine(Request(tmp_path, num_classes=1, unlabelled_frames=True)).exit_code == 0
    assert (
        doctor(tmp_path, "--annot", ".", "--num-classes", 1, "--dataset", "charades").returncode
        == 0
    )


def test_a_table_that_counts_other_clips_is_compared_with_both_splits(tmp_path):
    annotation(tmp_path, {"AAAA": "0", "BBBB": "0,1"}, {"CCCC": "1"})
    write_class_table(tmp_path / "df_action.xlsx", ["Eating", "Moving", "Flying"], [3, 2, 0])
    found = finding(examine(Request(tmp_path)), "table_counts")
    assert "1 of 3 counts equal the training clips, 2 those of both splits" in found.what
    assert "its sum is 5, the labels are 3 in training, 4 in both" in found.what
    assert found.examples == ("class 0: 3, train 2, test 0", "class 1: 2, train 1, test 1")


def test_a_table_that_counts_the_training_clips_is_not_mentioned(tmp_path):
    annotation(tmp_path, {"AAAA": "0", "BBBB": "0,1"}, {"CCCC": "1"})
    write_class_table(tmp_path / "df_action.xlsx", ["Eating", "Moving"], [2, 1])
    assert not {"table_counts", "table_segments"} & kinds(examine(Request(tmp_path))).keys()


def test_a_broken_class_table_is_an_error(tmp_path):
    annotation(tmp_path, {"AAAA": "0"}, {"BBBB": "0"})
    (tmp_path / "df_action.xlsx").write_bytes(b"<html>")
    report = examine(Request(tmp_path, num_classes=1))
    assert kinds(report)["class_table"] is Severity.ERROR


def test_without_a_class_table_the_number_of_classes_is_asked_for(tmp_path):
    annotation(tmp_path, {"AAAA": "0"}, {"BBBB": "0"})
    with pytest.raises(UserError, match="add --num-classes N"):
        examine(Request(tmp_path))


def test_the_counts_of_a_written_table_are_those_of_train_csv(tmp_path):
    annotation(tmp_path, {"AAAA": "0", "BBBB": "0,1"}, {"CCCC": "1"})
    write_class_table(tmp_path / "df_action.xlsx", ["Eating", "Moving"], [9, 1], ["Feeding", ""])
    done = doctor(tmp_path, "--annot", ".", "--write-class-table", "new.xlsx")
    assert done.returncode == 0
    assert "  1 counts changed: class 0 9 -> 2\n" in done.stdout
    assert read_class_counts(tmp_path / "new.xlsx", 2).tolist() == [2, 1]
    assert read_class_names(tmp_path / "new.xlsx", 2) == ("Eating", "Moving")
    sheet = openpyxl.load_workbook(tmp_path / "new.xlsx").active
    assert [row[1].value for row in sheet.iter_rows(min_row=2)] == ["Feeding", None]


def test_a_file_that_is_there_is_not_replaced_by_a_table(tmp_path):
    annotation(tmp_path, {"AAAA": "0"}, {"BBBB": "0"})
    write_class_table(tmp_path / "df_action.xlsx", ["Eating"], [1])
    before = (tmp_path / "df_action.xlsx").read_bytes()
    done = doctor(tmp_path, "--annot", ".", "--write-class-table", "df_action.xlsx")
    assert done.returncode == 2
    assert "--write-class-table df_action.xlsx: is there already" in done.stderr
    assert (tmp_path / "df_action.xlsx").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--annot", "nowhere"], "--annot nowhere: is no folder"),
        (["--annot", ".", "--images", "nowhere"], "--images nowhere: is no folder"),
        (["--annot", ".", "--full"], "--full: looks at pixels; add --images DIR"),
        (["--annot", ".", "--hash"], "--hash: looks at pixels"),
        (["--annot", ".", "--manifest", "m"], "--manifest: is for --hash"),
        (["--annot", ".", "--workers", "0"], "--workers 0: must be at least 1"),
        (["--annot", ".", "--num-classes", "0"], "--num-classes 0: must be at least 1"),
        (["--annot", ".", "--json", "train.csv"], "--json train.csv: the name must end in .json"),
        (["--annot", ".", "--json", "no/a.json", "--num-classes", "1"], "--json no/a.json: "),
        (["--annot", ".", "--write-class-table", "t.csv"], "must end in .xlsx"),
        (["--annot", ".", "--write-class-table", "no/t.xlsx"], "no is no folder; make it first"),
    ],
)
def test_a_mistake_in_the_options_is_one_line(tmp_path, arguments, said):
    annotation(tmp_path, {"AAAA": "0"}, {"BBBB": "0"})
    done = doctor(tmp_path, *arguments)
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert (tmp_path / "train.csv").read_text().startswith(HEADER)


def test_many_examples_are_cut_on_the_page_and_whole_in_the_report(tmp_path):
    clips = {f"C{n:03d}": "0" for n in range(40)}
    annotation(tmp_path, clips, clips)
    report = examine(Request(tmp_path, num_classes=1))
    assert len(finding(report, "in_both_splits").examples) == 40
    assert any(line.endswith("C014 and 25 more") for line in page(report))


def test_the_command_works_through_the_link_in_a_prepared_tree(tree, demo, tmp_path):
    shutil.copytree(demo / "annot", tmp_path / "annot")
    done = subprocess.run(
        [sys.executable, "tools/doctor.py", "--annot", str(tmp_path / "annot")],
        cwd=tree,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_ctrl_c_ends_it_with_one_line(demo, monkeypatch, capsys):
    def interrupted(request: Request) -> Report:
        raise KeyboardInterrupt

    monkeypatch.setattr("actionrec.data.doctor.examination.examine", interrupted)
    monkeypatch.setattr(sys, "path", list(sys.path))
    tool = runpy.run_path(str(REPOSITORY / "code_new/tools/doctor.py"))
    assert tool["main"](["--annot", str(demo / "annot")]) == 130
    assert capsys.readouterr().err == "doctor: interrupted; there is no report\n"


def test_a_reader_that_stops_early_is_no_error(demo):
    command = [sys.executable, str(REPOSITORY / "code_new/tools/doctor.py"), "--annot", "annot"]
    with subprocess.Popen(
        command, cwd=demo, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as done:
        done.stdout.close()
        assert done.stderr.read() == b""
    assert done.returncode == 0


def test_the_manifest_lies_beside_the_folder_whatever_it_is_called(demo, tmp_path):
    shutil.copytree(demo / "image", tmp_path / "image")
    for folder in (".", "../image", "../image/"):
        done = doctor(tmp_path / "image", "--annot", demo / "annot", "--images", folder, "--hash")
        assert done.returncode == 0
        assert (tmp_path / "image.sha256").is_file()
    assert "files as they were" in done.stdout
    assert len(list(tmp_path.iterdir())) == 2


def test_a_manifest_in_the_folder_that_it_lists_is_an_error(demo, tmp_path):
    shutil.copytree(demo / "image", tmp_path / "image")
    options = ["--images", "image", "--hash", "--manifest", "image/all.sha256"]
    done = doctor(tmp_path, "--annot", demo / "annot", *options)
    assert done.returncode == 2
    assert "--manifest image/all.sha256: lies in image" in done.stdout
    assert not (tmp_path / "image/all.sha256").exists()


def test_the_example_of_the_page_is_what_its_commands_print(tmp_path):
    text = (REPOSITORY / "docs/doctor.md").read_text().partition("## An example")[2]
    commands, printed = re.findall(r"```(?:bash|text)\n(.*?)```", text, re.DOTALL)[:2]
    make_demo(tmp_path / "data/demo")
    for name in ("tools", "actionrec"):
        (tmp_path / name).symlink_to(REPOSITORY / "code_new" / name)
    done = subprocess.run(
        ["bash", "-c", commands],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )
    assert (done.stdout, done.stderr, done.returncode) == (printed, "", 2)

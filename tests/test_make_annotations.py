"""Annotations made from a workbook in the official format, by the command that a user types."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import openpyxl
import pytest

from actionrec.atomic_file import atomic_file
from actionrec.data.annotations import check_disjoint, read_clips
from actionrec.data.class_table import read_class_names, write_class_table
from actionrec.data.frame_lists import MissingFrames, count_video_frames, fixed_number
from actionrec.data.input_checks import AnnotationError
from actionrec.data.make_annotations import make_annotations
from actionrec.data.metadata import read_metadata
from actionrec.data.workbook import count_conflicts, read_class_counts
from actionrec.errors import SecurityError

REPOSITORY = Path(__file__).resolve().parents[1]
OFFICIAL = REPOSITORY.parent / "shared" / "data" / "animal_kingdom"
needs_official = pytest.mark.skipif(
    not (OFFICIAL / "AR_metadata.xlsx").is_file(), reason="the official workbooks are not here"
)

CLIPS = [
    (1, "AAAA", "train", "2,0", "__import__('os').mkdir('canary')"),
    (2, "BBBB", "train", "1", "[('Snake', 'Moving')]"),
    (3, "CCCC", "test", "0,1", ""),
]
ACTIONS = [
    (2, "Feeding", "Eating", ""),
    (0, "Sensing", "Attending", ""),
    (1, "Movement", "Moving", ""),
]


def metadata(folder: Path, clips=CLIPS, actions=ACTIONS) -> Path:
    book = openpyxl.Workbook()
    book.active.title = "AR"
    book.active.append(["S/N", "video_id", "type", "labels", "list_animal_action"])
    for clip in clips:
        book.active.append(clip)
    sheet = book.create_sheet("Action")
    sheet.append(["Label", "Category", "Action", "Description"])
    for action in actions:
        sheet.append(action)
    path = folder / "AR_metadata.xlsx"
    book.save(path)
    return path


def command(folder: Path, *arguments: object, tool: Path | None = None):
    tool = tool or REPOSITORY / "code_new" / "tools" / "make_annotations.py"
    return subprocess.run(
        [sys.executable, str(tool), *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
    )


def video(path: Path, num_frames: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for n in range(num_frames):
            picture = np.full((32, 32, 3), 5 * n % 255, dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))


def test_the_csv_is_the_six_column_format_byte_for_byte(tmp_path):
    done = command(
        tmp_path, "--metadata", metadata(tmp_path), "--out", "new/annot", "--frames-per-clip", 2
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "new/annot/train.csv").read_text() == (
        "original_vido_id video_id frame_id path labels type\n"
        "AAAA 1 1 AAAA/AAAA_t000001.jpg 2,0 train\n"
        "AAAA 1 2 AAAA/AAAA_t000002.jpg 2,0 train\n"
        "BBBB 2 1 BBBB/BBBB_t000001.jpg 1 train\n"
        "BBBB 2 2 BBBB/BBBB_t000002.jpg 1 train\n"
    )
    assert (tmp_path / "new/annot/val.csv").read_text() == (
        "original_vido_id video_id frame_id path labels type\n"
        "CCCC 3 1 CCCC/CCCC_t000001.jpg 0,1 test\n"
        "CCCC 3 2 CCCC/CCCC_t000002.jpg 0,1 test\n"
    )
    names = {path.name for path in (tmp_path / "new/annot").iterdir()}
    assert names == {"train.csv", "val.csv", "df_action.xlsx"}
    assert (tmp_path / "new/annot/train.csv").stat().st_mode & 0o777 == 0o644 & ~umask()
    assert not (tmp_path / "canary").exists()
    assert "train.csv: 2 clips, 4 frames" in done.stdout
    assert "1 of 3 classes have no test clip: 2" in done.stdout
    assert "lists 2 train and 1 test clips, the official one 24004 and 6096" in done.stdout


def umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def test_the_class_table_has_the_names_of_sheet_action_and_counts_the_training_clips(tmp_path):
    make_annotations(metadata(tmp_path), tmp_path / "out", fixed_number(1))
    table = tmp_path / "out/df_action.xlsx"
    assert read_class_names(table, 3) == ("Attending", "Moving", "Eating")
    train = read_clips(tmp_path / "out/train.csv", num_classes=3)
    assert read_class_counts(table, 3).tolist() == train.class_counts(3).tolist() == [1, 1, 1]


def test_names_of_a_given_class_table_win_and_each_other_name_is_noted(tmp_path):
    make_annotations(metadata(tmp_path), tmp_path / "out", fixed_number(1))
    other = metadata(tmp_path, actions=[(0, "x", "attending", ""), *ACTIONS[2:], (2, "", "X", "")])
    table = tmp_path / "out/df_action.xlsx"
    made = make_annotations(other, tmp_path / "two", fixed_number(1), class_table=table)
    assert read_class_names(tmp_path / "two/df_action.xlsx", 3)[2] == "Eating"
    assert [n for n in made.notes if n.startswith("class ")] == [
        f"class 2: 'Eating' in {table}, 'X' in sheet 'Action' of {other}; the former is written"
    ]


def test_frames_come_from_the_folders_in_the_order_of_their_numbers(tmp_path):
    for name in ("1.jpg", "2.jpg", "10.png", "Thumbs.db", ".hidden_3.jpg", "notes.txt"):
        (tmp_path / "image/AAAA").mkdir(parents=True, exist_ok=True)
        (tmp_path / "image/AAAA" / name).touch()
    (tmp_path / "image/CCCC").mkdir()
    (tmp_path / "image/CCCC/CCCC_t000001.jpg").touch()
    done = command(tmp_path, "--metadata", metadata(tmp_path), "--out", "out", "--images", "image")
    assert done.returncode == 3
    assert "1 of 3 clips are missing and left out:" in done.stdout
    assert "BBBB (train): image/BBBB: No such file or directory" in done.stdout
    assert "BBBB (train)" in (tmp_path / "out/missing_clips.txt").read_text()
    train = read_clips(tmp_path / "out/train.csv", num_classes=3)
    assert train.ids == ("AAAA",)
    assert train.frame_paths(0, range(3)) == ["AAAA/1.jpg", "AAAA/2.jpg", "AAAA/10.png"]
    assert read_class_counts(tmp_path / "out/df_action.xlsx", 3).tolist() == [1, 0, 1]


def test_the_missing_list_goes_when_nothing_is_missing_any_more(tmp_path):
    book, missing = metadata(tmp_path), {"BBBB"}

    def lister(clip_id: str):
        if clip_id in missing:
            raise MissingFrames("not here")
        return [(1, f"{clip_id}/1.jpg")]

    make_annotations(book, tmp_path / "out", lister)
    assert (tmp_path / "out/missing_clips.txt").read_text() == "BBBB (train): not here\n"
    missing.clear()
    make_annotations(book, tmp_path / "out", lister, overwrite=True)
    assert not (tmp_path / "out/missing_clips.txt").exists()


def test_frames_are_counted_in_videos(tmp_path):
    video(tmp_path / "video/AAAA.mp4", 7)
    video(tmp_path / "video/CCCC.mp4", 4)
    (tmp_path / "video/BBBB.mp4").write_bytes(b"no video")
    done = command(tmp_path, "--metadata", metadata(tmp_path), "--out", "out", "--videos", "video")
    assert done.returncode == 3
    assert "BBBB (train): video/BBBB.mp4: cannot be read" in done.stdout
    assert read_clips(tmp_path / "out/train.csv", num_classes=3).num_frames.tolist() == [7]
    val = read_clips(tmp_path / "out/val.csv", num_classes=3)
    assert val.frame_paths(0, [3]) == ["CCCC/CCCC_t000004.jpg"]


def test_packets_are_counted_where_a_video_does_not_say_its_frames(tmp_path):
    video(tmp_path / "a.mkv", 9)
    with av.open(str(tmp_path / "a.mkv")) as container:
        assert container.streams.video[0].frames == 0
    assert count_video_frames(tmp_path / "a.mkv") == 9


def test_files_that_are_there_are_kept_unless_they_may_be_overwritten(tmp_path):
    book = metadata(tmp_path)
    (tmp_path / "train.csv").write_text("mine")
    done = command(tmp_path, "--metadata", book, "--out", ".", "--frames-per-clip", 1)
    assert done.returncode == 2
    assert "holds train.csv already" in done.stderr and "--overwrite" in done.stderr
    assert (tmp_path / "train.csv").read_text() == "mine"
    assert not (tmp_path / "val.csv").exists()
    make_annotations(book, tmp_path, fixed_number(1), overwrite=True)
    assert (tmp_path / "train.csv").read_text().startswith("original_vido_id")
    with pytest.raises(AnnotationError, match="is the file that would be written"):
        make_annotations(
            book,
            tmp_path,
            fixed_number(1),
            overwrite=True,
            class_table=tmp_path / "df_action.xlsx",
        )


def test_a_failure_in_between_leaves_the_old_files_and_no_temporary_ones(tmp_path):
    book = metadata(tmp_path)
    make_annotations(book, tmp_path / "out", fixed_number(1))
    before = {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()}

    def fails_at_the_second(clip_id: str):
        if clip_id == "BBBB":
            raise KeyboardInterrupt
        return [(1, f"{clip_id}/1.jpg")]

    with pytest.raises(KeyboardInterrupt):
        make_annotations(book, tmp_path / "out", fails_at_the_second, overwrite=True)
    assert {p.name: p.read_bytes() for p in (tmp_path / "out").iterdir()} == before


def test_a_label_beyond_the_classes_names_the_table_that_has_too_few(tmp_path):
    row = (2, "BBBB", "train", "3", "")
    book = metadata(tmp_path, clips=[CLIPS[0], row])
    with pytest.raises(AnnotationError, match=r"row 3: label 3 is outside 0\.\.2; ") as caught:
        read_metadata(book)
    assert str(caught.value).endswith("correct it, or sheet 'Action', which names 3 classes")
    write_class_table(tmp_path / "three.xlsx", list("abc"), [1, 1, 1])
    with pytest.raises(AnnotationError) as caught:
        read_metadata(book, tmp_path / "three.xlsx")
    assert "or --class-table " in str(caught.value)
    assert "three.xlsx, which names 3 classes" in str(caught.value)


def test_a_frame_whose_name_is_refused_names_the_option_that_the_tool_has(tmp_path):
    (tmp_path / "image/AAAA").mkdir(parents=True)
    (tmp_path / "image/AAAA/~1.jpg").touch()
    done = command(tmp_path, "--metadata", metadata(tmp_path), "--out", "out", "--images", "image")
    assert done.returncode == 4
    assert "'~1.jpg' is refused: it must be relative to --images, " in done.stderr
    assert "DATA." not in done.stderr and not list((tmp_path / "out").glob("*"))


def test_a_file_is_written_whole_under_a_name_that_slowfast_never_resumes(tmp_path):
    path = tmp_path / "checkpoint_epoch_00001.pyth"
    path.write_text("old")
    with pytest.raises(KeyError), atomic_file(path) as file:
        file.write(b"half")
        raise KeyError
    assert [p.read_text() for p in tmp_path.iterdir()] == ["old"]
    with atomic_file(path) as file:
        file.write(b"new")
        assert [p.name for p in tmp_path.iterdir() if "checkpoint" in p.name] == [path.name]
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644 & ~umask()


@pytest.mark.parametrize(
    ("change", "says", "kind"),
    [
        ({1: "AAAA"}, r"row 3: clip AAAA is already in .*row 2", AnnotationError),
        ({1: "../B"}, r"row 3: clip id '\.\./B' is refused", SecurityError),
        ({1: None}, "row 3: video_id is empty", AnnotationError),
        ({2: "dev"}, "row 3: type 'dev' is neither train nor test", AnnotationError),
        ({3: 240}, r"row 3: labels of BBBB are '240', not text", AnnotationError),
        ({3: 2.4}, "format the column as text", AnnotationError),
        ({3: None}, "labels of BBBB are 'None', not text", AnnotationError),
        ({3: "3"}, r"row 3: label 3 is outside 0\.\.2", AnnotationError),
        ({3: "1;2"}, "label '1;2' is not a whole number", AnnotationError),
    ],
)
def test_a_wrong_row_of_the_workbook_is_named(tmp_path, change, says, kind):
    row = tuple(change.get(i, value) for i, value in enumerate(CLIPS[1]))
    with pytest.raises(kind, match=says) as caught:
        read_metadata(metadata(tmp_path, clips=[CLIPS[0], row]))
    assert "sheet 'AR'" in str(caught.value) and "\n" not in str(caught.value)


def test_the_one_class_without_a_label_gets_the_label_left_over(tmp_path):
    actions = [ACTIONS[0], ("#N/A", "Resting", "Yawning", ""), ACTIONS[2]]
    read = read_metadata(metadata(tmp_path, actions=actions))
    assert [c.name for c in read.classes] == ["Yawning", "Moving", "Eating"]
    assert "row 3: Yawning has label '#N/A'; it got 0" in read.notes[0]
    both = [("#N/A", "", "a", ""), (None, "", "b", ""), ACTIONS[0]]
    with pytest.raises(AnnotationError, match="2 rows have no label .*--class-table"):
        read_metadata(metadata(tmp_path, actions=both))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--metadata", "none.xlsx", "--frames-per-clip", "1"], "none.xlsx: cannot be read"),
        (["--metadata", "AR_metadata.xlsx", "--images", "none"], "--images none: is no folder"),
        (["--metadata", "AR_metadata.xlsx", "--videos", "empty"], "no clip of .* has frames"),
        (["--metadata", "AR_metadata.xlsx", "--frames-per-clip", "0"], "must be 1 to 999999"),
        (["--metadata", "AR_metadata.xlsx"], "one of the arguments --images --videos"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_line_and_writes_nothing(tmp_path, arguments, says):
    metadata(tmp_path)
    (tmp_path / "empty").mkdir()
    done = command(tmp_path, "--out", "out", *arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert re.search(f"error: .*{says}", done.stderr.splitlines()[-1])
    assert not list((tmp_path / "out").glob("*"))


def test_help_answers_without_numpy_openpyxl_or_torch():
    tool = REPOSITORY / "code_new" / "tools" / "make_annotations.py"
    code = (
        f"import runpy, sys; sys.argv = [{str(tool)!r}, '--help']\n"
        f"try: runpy.run_path({str(tool)!r}, run_name='__main__')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(sorted({'numpy', 'openpyxl', 'torch', 'av'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "--frames-per-clip" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_a_linked_tool_takes_the_packages_beside_the_link(tmp_path):
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("tools", "actionrec"):
        (tree / name).symlink_to(REPOSITORY / "code_new" / name)
    tool = tree / "tools" / "make_annotations.py"
    metadata(tmp_path)
    arguments = ("--metadata", "AR_metadata.xlsx", "--out", "out", "--frames-per-clip", 1)
    assert command(tmp_path, *arguments, tool=tool).returncode == 0
    (tree / "actionrec").unlink()
    assert "No module named 'actionrec'" in command(tmp_path, *arguments, tool=tool).stderr


@needs_official
def test_the_official_workbook_has_24004_and_6096_clips_of_140_classes(tmp_path):
    made = make_annotations(OFFICIAL / "AR_metadata.xlsx", tmp_path, fixed_number(2))
    train = read_clips(tmp_path / "train.csv", num_classes=140)
    val = read_clips(tmp_path / "val.csv", num_classes=140)
    assert (len(train), len(val)) == (24_004, 6_096)
    check_disjoint(train, val)
    counts, test_counts = train.class_counts(140), val.class_counts(140)
    assert [(counts > 500).sum(), (counts <= 100).sum()] == [18, 90]
    assert counts.sum() + test_counts.sum() == 64_904
    assert counts.min() == 1 and [(counts == 1).sum(), (counts < 3).sum()] == [5, 13]
    empty = "13 of 140 classes have no test clip: 4 24 34 36 53 63 70 77 86 89 and 3 more"
    assert empty in made.notes
    measurable = test_counts[test_counts > 0]
    assert [(measurable > 300).sum(), (measurable <= 50).sum()] == [10, 94]
    both = counts + test_counts
    assert [(both > 500).sum(), (both <= 100).sum()] == [22, 86]
    assert (read_class_counts(tmp_path / "df_action.xlsx", 140) == counts).all()
    official = read_class_counts(OFFICIAL / "df_action.xlsx", 140)
    assert [(official == counts).sum(), (official == both).sum()] == [11, 33]
    conflicts = count_conflicts(official, counts)
    assert len(conflicts) == 129 and max(map(len, conflicts)) < 60
    assert read_class_names(tmp_path / "df_action.xlsx", 140)[139] == "Yawning"
    assert not any("official one" in note for note in made.notes)


@needs_official
def test_swapped_names_of_the_official_workbooks_are_reported():
    read = read_metadata(OFFICIAL / "AR_metadata.xlsx", OFFICIAL / "df_action.xlsx")
    named = {int(note.split(":")[0].removeprefix("class ")) for note in read.notes}
    assert named == {49, 50, 81, 82, 83, 84}

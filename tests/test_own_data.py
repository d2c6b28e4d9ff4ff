"""From a lab's videos to a trained model by two commands, and what stands between."""

from __future__ import annotations

import shlex
import subprocess
import sys

import av
import pytest
from clip_files import write_video
from lab_files import make_lab
from test_command import QUICK, last_stats

from actionrec.data.annotations import check_disjoint, read_clips
from actionrec.data.class_table import read_class_names
from actionrec.data.clip_groups import read_groups

ACTS = [("Walking Left", 2.0), ("Rolling", 2.0), ("Jumping", 2.0)]
TOOL = "tools/make_annotations.py"


@pytest.fixture
def tool(repo):
    """tool(folder, *args): the command, given in a folder that is no tree."""

    def run(folder, *args):
        return subprocess.run(
            [sys.executable, str(repo / "code_new" / TOOL), *map(str, args)],
            cwd=folder,
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture
def lab(tmp_path):
    """Four videos of 60 frames at 30 Hz, 64x48 px, and a table of events."""
    for name in ("a 1.mp4", "b.mkv", "c.mp4", "d.mp4"):
        write_video(tmp_path / "videos" / name)
    rows = "".join(f"{v},0,1.0,Walk\n{v},1.2,2.0,Eat\n" for v in ("a 1", "b", "c", "d"))
    (tmp_path / "events.csv").write_text(f"video,start,stop,behaviour\n{rows}")
    return tmp_path


def arguments(lab, **options):
    given = {"events": "events.csv", "videos": "videos", "out": "out", "window_sec": 0.5}
    given |= {"stride_sec": 0.25, **options}
    return [
        word
        for name, value in given.items()
        for word in (f"--{name.replace('_', '-')}", *([] if value is True else [str(value)]))
    ]


def test_the_two_commands_of_the_page_make_a_trained_model(tree, tmp_path, repo):
    """The first as written, in places of this test; the second as the first one prints it."""
    page = (repo / "docs/own_data.md").read_text().partition("```bash\n")[2].partition("```")[0]
    first, second = (shlex.split(x.replace("\\\n", "")) for x in page.strip().split("\n\n"))
    make_lab(tmp_path, {f"day {n}.mp4": ACTS for n in range(4)})
    here = {n: str(tmp_path / n) for n in ("observations.tsv", "videos", "data/lab")}
    assert first[:2] == ["python", TOOL] and here.keys() <= set(first)
    done = subprocess.run(
        [sys.executable, *(here.get(word, word) for word in first[1:])],
        cwd=tree, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    shown = next(x for x in done.stdout.splitlines() if "configs/AK/DEMO.yaml" in x)
    command = shlex.split(shown)
    assert command[:4] == second[:4] and command[4::2] == second[4::2]
    assert command[command.index("DATA.RANDOM_FLIP") + 1] == "False"  # Walking Left
    done = subprocess.run(
        [sys.executable, *command[1:], *QUICK], cwd=tree, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    results = tmp_path / "data/lab/results/DEMO"
    assert last_stats(results)["split"] == "test_final"
    header = (results / "results.csv").read_text().splitlines()[0]
    assert header.split(",")[-3:] == ["Jumping", "Rolling", "Walking Left"]


def test_what_is_written_is_an_annotation_with_every_video_on_one_side(lab, tool):
    done = tool(lab, *arguments(lab))
    assert (done.returncode, done.stderr) == (0, "")
    assert read_class_names(lab / "out/annot/df_action.xlsx", 2) == ("Eat", "Walk")
    train = read_clips(lab / "out/annot/train.csv", num_classes=2)
    val = read_clips(lab / "out/annot/val.csv", num_classes=2)
    check_disjoint(train, val)
    assert {name.rsplit("_", 1)[0] for name in val.ids} == {"a-1"}
    assert {name.rsplit("_", 1)[0] for name in train.ids} == {"b", "c", "d"}
    groups = read_groups(lab / "out/annot/groups.csv", [*train.ids, *val.ids])
    assert len(set(groups)) == 4 and groups[0] == "videos/b.mkv"  # for tools/make_split.py
    clips = {p.stem for p in (lab / "out/video").iterdir()}
    assert clips == {*train.ids, *val.ids} and set(train.num_frames) == {15}
    labels = {name: train.labels(i).tolist() for i, name in enumerate(train.ids)}
    assert labels["b_0000000"] == [1] and labels["b_0001500"] == [0]
    assert labels["b_0000750"] == [1]  # half of the window
    assert "b_0001000" in labels and labels["b_0001000"] == [0]  # 0.3 of 0.5 s
    assert "Eat        " in done.stdout and "Train on a GPU:\n  cd " in done.stdout


def test_the_same_command_again_wants_overwrite_and_cuts_nothing_anew(lab, tool):
    assert tool(lab, *arguments(lab)).returncode == 0
    before = {p: p.stat().st_ino for p in (lab / "out/video").iterdir()}
    train = (lab / "out/annot/train.csv").read_bytes()
    done = tool(lab, *arguments(lab))
    assert done.returncode == 2 and "replace them with --overwrite" in done.stderr
    (lab / "out/video/.0123.partial").touch()  # as a run that was killed leaves
    assert tool(lab, *arguments(lab, overwrite=True)).returncode == 0
    assert {p: p.stat().st_ino for p in (lab / "out/video").iterdir()} == before
    assert (lab / "out/annot/train.csv").read_bytes() == train


def test_missing_and_broken_videos_are_listed_and_the_status_is_3(lab, tool):
    (lab / "videos/c.mp4").write_bytes(b"no video")
    (lab / "videos/d.mp4").unlink()
    done = tool(lab, *arguments(lab))
    assert done.returncode == 3, done.stderr
    assert "2 videos cannot be used or only in part:" in done.stdout
    listed = (lab / "out/missing_videos.txt").read_text().splitlines()
    assert listed[0] == "events.csv:8: no video 'd' in videos"
    assert listed[1].startswith("videos/c.mp4: cannot be read")
    write_video(lab / "videos/c.mp4")
    write_video(lab / "videos/d.mp4")
    assert tool(lab, *arguments(lab, overwrite=True)).returncode == 0
    assert not (lab / "out/missing_videos.txt").exists()


def test_background_classes_and_the_videos_for_validation_are_as_asked(lab, tool):
    rows = "".join(f"{v},0,0.5,Walk\n" for v in ("a 1", "b", "c", "d"))
    (lab / "events.csv").write_text(f"video,start,stop,behaviour\n{rows}a 1,1,1.2,Sleep\n")
    (lab / "classes.txt").write_text("# in this order\nWalk\nEat\n")
    (lab / "val.txt").write_text("c.mp4\nd\n")
    options = {"background": "Nothing", "classes": "classes.txt", "val_videos": "val.txt"}
    done = tool(lab, *arguments(lab, **options))
    assert done.returncode == 0, done.stderr
    assert read_class_names(lab / "out/annot/df_action.xlsx", 3) == ("Walk", "Eat", "Nothing")
    val = read_clips(lab / "out/annot/val.csv", num_classes=3)
    assert {name.rsplit("_", 1)[0] for name in val.ids} == {"c", "d"}
    labels = {name: val.labels(i).tolist() for i, name in enumerate(val.ids)}
    assert labels["c_0000000"] == [0] and labels["c_0000500"] == labels["c_0001000"] == [2]
    assert "not in classes.txt, so left out: 'Sleep' (2 clips)" in done.stdout
    assert "Eat          0      0  no training clip: it cannot be learned" in done.stdout


def test_whole_clips_of_a_list_stay_whole(lab, tool):
    (lab / "events.csv").write_text("a 1.mp4,Walk\nb.mkv,Walk,Eat\nc.mp4,Eat\nd.mp4,Eat\n")
    assert tool(lab, *arguments(lab)).returncode == 0
    train = read_clips(lab / "out/annot/train.csv", num_classes=2)
    val = read_clips(lab / "out/annot/val.csv", num_classes=2)
    assert len(train) + len(val) == 4
    assert {*train.num_frames.tolist(), *val.num_frames.tolist()} == {60}


def test_boxes_give_one_clip_an_animal_with_its_own_labels(lab, tool):
    rows = "".join(f"{v},0,2,Walk,red\n{v},0,2,Eat,blue 2\n" for v in ("a 1", "b"))
    (lab / "events.csv").write_text(f"video,start,stop,behaviour,subject\n{rows}")
    boxes = "".join(
        f"{v},{f},{x},10,20,20,{track}\n"
        for v in ("a 1", "b")
        for f in range(0, 30)
        for x, track in ((0, "red"), (40, "blue 2"))
    )
    (lab / "boxes.csv").write_text(f"video,frame,x,y,w,h,track\n{boxes}")
    done = tool(lab, *arguments(lab, boxes="boxes.csv", stride_sec=0.5))
    assert done.returncode == 0, done.stderr
    val = read_clips(lab / "out/annot/val.csv", num_classes=2)
    labels = {name: val.labels(i).tolist() for i, name in enumerate(val.ids)}
    assert labels == {
        f"a-1_{start}_{track}": [label]
        for start in ("0000000", "0000500")
        for track, label in (("red", 1), ("blue-2", 0))
    }
    with av.open(str(lab / "out/video/a-1_0000000_red.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height) == (24, 24)
    table = (lab / "events.csv").read_text()
    (lab / "events.csv").write_text(f"{table}a 1,0,1,Walk,green\n")
    done = tool(lab, *arguments(lab, boxes="boxes.csv", overwrite=True))
    assert (
        "events.csv:6: subject 'green' has no boxes in a 1.mp4; its tracks are 'red' 'blue 2'"
        in (done.stderr)
    )


def test_videos_whose_names_differ_in_signs_alone_get_ids_of_their_own(lab, tool):
    write_video(lab / "videos/a-1.mp4")
    with (lab / "events.csv").open("a") as file:
        file.write("a-1,0,1,Walk\n")
    assert tool(lab, *arguments(lab)).returncode == 0
    stems = {p.stem.rsplit("_", 1)[0] for p in (lab / "out/video").iterdir()}
    assert len(stems) == 5 and len([s for s in stems if s.startswith("a-1-")]) == 2


@pytest.mark.parametrize(
    ("row", "options", "says"),
    [
        ("a 1,5,6,Walk", {}, "events.csv:10: 'Walk' starts at 5 s, but a 1.mp4 ends at 2.0 s"),
        ("a 1,1,60,Walk", {}, "events.csv:10: 'Walk' stops at 60 s, but a 1.mp4 ends at 2.0 s"),
        ("a 1,2,1,Walk", {}, "events.csv:10: 'Walk' stops at 1 s, before it starts at 2 s"),
        ("", {"background": "Walk"}, "--background 'Walk': is a behaviour that is observed"),
        ("", {"subjects": "red"}, "--subjects 'red': there is none of this name, only ''"),
        ("", {"format": "boris"}, "--format 'boris': is unknown; known: eaf, "),
        ("", {"videos": "none"}, "--videos none: is no folder"),
        ("", {"events": "none.csv"}, "none.csv: cannot be read"),
        ("", {"classes": "others.txt"}, "none of its 1 names is observed; observed are"),
        ("", {"val_videos": "others.txt"}, "others.txt:1: no video 'swim' in videos; correct its"),
        ("", {"window_sec": 0}, "--window-sec 0.0: must be 0.1 to 600"),
        ("", {"val_fraction": 1}, "--val-fraction 1.0: must be 0.01 to 0.99"),
        ("", {"class_table": "x.xlsx"}, "--class-table goes with --metadata only"),
        ("", {"metadata": "x.xlsx"}, "not allowed with argument"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_nothing_is_written(lab, tool, row, options, says):
    with (lab / "events.csv").open("a") as file:
        file.write(f"{row}\n")
    (lab / "others.txt").write_text("Swim\n")
    done = tool(lab, *arguments(lab, **options))
    assert done.returncode == 2
    assert says in done.stderr.splitlines()[-1] and "Traceback" not in done.stderr
    assert not (lab / "out").exists()


def test_options_for_events_are_refused_with_the_workbook(lab, tool):
    done = tool(lab, "--metadata", "x.xlsx", "--out", "o", "--videos", "v", "--window-sec", "2")
    assert done.returncode == 2 and "--window-sec goes with --events only" in done.stderr
    done = tool(lab, "--events", "x.csv", "--out", "o", "--images", "v")
    assert done.returncode == 2 and "--events needs --videos DIR" in done.stderr


def test_one_video_cannot_be_split(lab, tool):
    (lab / "events.csv").write_text("video,start,stop,behaviour\nb,0,1,Walk\n")
    done = tool(lab, *arguments(lab))
    assert done.returncode == 2 and "0 of 1 videos with clips are for validation" in done.stderr


def test_annotations_with_one_row_a_frame_are_checked_and_left_as_they_are(tmp_path, tool):
    """As KABR has them: one label, frames without zeros in front."""
    header = "original_vido_id video_id frame_id path labels\n"
    for name, clip in (("train.csv", "Z1"), ("val.csv", "Z2")):
        rows = "".join(f"{clip} 0 {n} {clip}/{n}.jpg {n // 11}\n" for n in range(1, 13))
        (tmp_path / name).write_text(header + rows)
    both = ("--events", "train.csv", "val.csv", "--videos", ".", "--out", "out")
    done = tool(tmp_path, *both)
    assert done.returncode == 0, done.stderr
    assert "train.csv: 1 clips, 12 frames, 2 labels: 0 1" in done.stdout
    assert "MODEL.NUM_CLASSES 2" in done.stdout and not (tmp_path / "out").exists()
    (tmp_path / "val.csv").write_text(f"{header}Z1 0 1 Z1/1.jpg 0\n")
    assert "clip Z1 is also in train.csv:2" in tool(tmp_path, *both).stderr

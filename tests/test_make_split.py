"""dev.txt, made by the command that a user types, for made-up clips and for the official ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from actionrec.data.annotations import read_clips
from actionrec.data.clip_groups import origins
from actionrec.data.dev_split import hold_out
from actionrec.data.input_checks import AnnotationError
from actionrec.data.make_split import make_split
from actionrec.data.metadata import read_metadata

TOOL = Path(__file__).resolve().parents[1] / "code_new" / "tools" / "make_split.py"
HEADER = "original_vido_id video_id frame_id path labels type\n"


def write_train(folder: Path, labels: dict[str, str]) -> Path:
    """A train.csv of one frame a clip, {id: labels}; returns the folder."""
    folder.mkdir(exist_ok=True)
    rows = [
        f"{c} {n} 1 {c}/{c}_t000001.jpg {of} train\n" for n, (c, of) in enumerate(labels.items())
    ]
    (folder / "train.csv").write_text(HEADER + "".join(rows))
    return folder


@pytest.fixture
def annot(tmp_path: Path) -> Path:
    """40 clips of class 0, every fourth of class 1 too; class 3 has two clips, 2 none."""
    labels = {f"CLIP{n:02d}": "0,1" if n % 4 == 0 else "0" for n in range(38)}
    return write_train(tmp_path / "annot", labels | {"RARE0": "0,3", "RARE1": "0,3"})


def command(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
    )


def held_out(path: Path) -> list[str]:
    return [line for line in path.read_text().splitlines() if not line.startswith("#")]


def test_dev_txt_lists_the_share_that_was_asked_for(annot, tmp_path):
    done = command(tmp_path, "--annot", "annot", "--fraction", 0.2, "--seed", 3)
    assert (done.returncode, done.stderr) == (0, "")
    text = (annot / "dev.txt").read_text()
    assert text.startswith("# 8 of 40 clips of train.csv, held out of training\n")
    assert "fraction 0.2, seed 3" in text and "# sha256 of the clip ids of train.csv: " in text
    ids = held_out(annot / "dev.txt")
    assert len(ids) == 8 and sum(int(c[4:]) % 4 == 0 for c in ids) == 2
    assert not {"RARE0", "RARE1"} & set(ids)
    assert done.stdout.startswith("annot/dev.txt: 8 of 40 clips held out, 32 left to train on\n")
    assert "1 of 3 classes have no clip held out, so no validation measures them: 3" in done.stdout


def test_the_same_arguments_give_the_same_bytes_and_the_order_of_the_file_stays(annot, tmp_path):
    for name in ("a.txt", "b.txt"):
        make_split(annot, tmp_path / name, fraction=0.25, seed=1)
    make_split(annot, tmp_path / "c.txt", fraction=0.25, seed=2)
    a, b, c = ((tmp_path / name).read_bytes() for name in ("a.txt", "b.txt", "c.txt"))
    assert a == b != c
    train = read_clips(annot / "train.csv", num_classes=4)
    left, dev = hold_out(train, tmp_path / "a.txt")
    assert list(dev.ids) == held_out(tmp_path / "a.txt")
    assert [c for c in train.ids if c not in set(dev.ids)] == list(left.ids)


def test_an_existing_dev_txt_is_replaced_only_when_asked(annot, tmp_path):
    (annot / "dev.txt").write_text("CLIP00\n")
    done = command(tmp_path, "--annot", "annot")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert "is there already; replace it with --overwrite" in done.stderr
    assert (annot / "dev.txt").read_text() == "CLIP00\n"
    assert command(tmp_path, "--annot", "annot", "--overwrite").returncode == 0
    assert len(held_out(annot / "dev.txt")) == 4


@pytest.mark.parametrize(
    "option, line",
    [
        (("--fraction", "0.7"), "--fraction 0.7: must be above 0 and at most 0.5"),
        (("--fraction", "nan"), "--fraction nan: must be"),
        (("--seed", "-1"), "--seed -1: must be 0 or more"),
        (("--by-origin",), "--by-origin: clip id CLIP00 is not eight capital letters"),
        (("--groups", "none.csv"), "none.csv: cannot be read"),
        (("--fraction", "0.001"), "no clip could be held out: --fraction 0.001 of 40 clips"),
        (("--out", "nowhere/dev.txt"), "nowhere/dev.txt: cannot be written (No such file"),
    ],
)
def test_a_mistake_is_one_line(annot, tmp_path, option, line):
    done = command(tmp_path, "--annot", "annot", *option)
    assert done.returncode == 2 and line in done.stderr.splitlines()[-1], done.stderr
    assert "Traceback" not in done.stderr and not (annot / "dev.txt").exists()


def test_clips_of_one_group_stay_together(annot, tmp_path):
    ids = [f"CLIP{n:02d}" for n in range(38)] + ["RARE0", "RARE1"]
    group = {clip_id: f"video {n // 4}" for n, clip_id in enumerate(ids)}
    rows = "".join(f"{clip_id},{name}\n" for clip_id, name in group.items())
    (tmp_path / "groups.csv").write_text(f"clip_id,group\n{rows}OTHER,video 0\n")
    made = make_split(annot, annot / "dev.txt", fraction=0.2, groups=tmp_path / "groups.csv")
    dev = held_out(annot / "dev.txt")
    assert {group[c] for c in dev}.isdisjoint(group[c] for c in set(ids) - set(dev))
    assert len(dev) == 8 and made.lines()[0].endswith("in 10 groups")
    assert "by the groups of groups.csv" in (annot / "dev.txt").read_text()


@pytest.mark.parametrize(
    "text, line",
    [
        ("CLIP00,a\n", "groups.csv:1: the header is not clip_id,group"),
        ("clip_id,group\nCLIP00\n", "groups.csv:2: 'CLIP00' is not a clip id and a group"),
        ("clip_id,group\nCLIP00,a\nCLIP00,b\n", "groups.csv:3: clip 'CLIP00' has another group"),
        ("clip_id,group\nCLIP00,a\n", "39 clips of train.csv have no group: CLIP01 CLIP02"),
    ],
)
def test_a_file_of_groups_that_cannot_be_used_is_one_line(annot, tmp_path, text, line):
    (tmp_path / "groups.csv").write_text(text)
    with pytest.raises(AnnotationError) as caught:
        make_split(annot, annot / "dev.txt", fraction=0.2, groups=tmp_path / "groups.csv")
    assert line in str(caught.value) and not (annot / "dev.txt").exists()


@pytest.fixture(scope="module")
def official(shared_data, tmp_path_factory) -> Path:
    """The training clips of the official workbook, with one frame each."""
    clips = read_metadata(shared_data / "AR_metadata.xlsx").clips
    labels = {c.clip_id: ",".join(map(str, c.labels)) for c in clips if c.split == "train"}
    return write_train(tmp_path_factory.mktemp("official") / "annot", labels)


def test_every_official_class_gets_its_tenth_to_half_a_clip(official, tmp_path):
    made = make_split(official, tmp_path / "dev.txt", fraction=0.1)
    assert (len(made.held_out), np.count_nonzero(made.held_out)) == (24_004, 2_400)
    counts, dev = made.targets.sum(axis=0), made.targets[made.held_out].sum(axis=0)
    assert np.abs(dev - 0.1 * counts).max() <= 0.5 + 1e-9
    assert np.flatnonzero(dev == 0).tolist() == np.flatnonzero(counts <= 5).tolist()
    assert made.lines()[-1].startswith("24 of 140 classes have no clip held out")


def test_official_clips_of_one_origin_stay_together_and_no_class_leaves_training(
    official, tmp_path
):
    made = make_split(official, tmp_path / "dev.txt", fraction=0.1, by_origin=True)
    ids = read_clips(official / "train.csv", num_classes=140).ids
    origin = np.array(origins(list(ids)))
    assert not set(origin[made.held_out]) & set(origin[~made.held_out])
    assert np.count_nonzero(made.held_out) == pytest.approx(2400, rel=0.02)
    counts = made.targets.sum(axis=0)
    assert (made.targets[~made.held_out].sum(axis=0) >= np.minimum(counts, 2)).all()


def test_what_the_code_says_of_the_origins_is_so(shared_data):
    clips = read_metadata(shared_data / "AR_metadata.xlsx").clips
    of = dict(zip((c.clip_id for c in clips), origins([c.clip_id for c in clips]), strict=True))
    trained = {of[c.clip_id] for c in clips if c.split == "train"}
    assert len(set(of.values())) == 336
    assert sum(of[c.clip_id] in trained for c in clips if c.split == "test") == 6095
    first = np.array([[ord(letter) for letter in c.clip_id[:5]] for c in clips])
    for place in first.T:  # each letter in 1/26 of the ids, as far as chance goes
        shares = np.unique(place, return_counts=True)[1] / len(place)
        assert len(shares) == 26 and np.abs(shares - 1 / 26).max() < 0.005

"""The options of the script: where the data lies, which base, and one line for each mistake."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LAYOUTS = {
    "AK's own": {
        "image": "dataset/image",
        "video": "dataset/video",
        "annot": "annotation",
    },
    "flat": {"image": "image", "video": "video", "annot": "annot"},
    "videos alone": {"video": "video", "annot": "annotation"},
}


def data_set(root: Path, layout: str) -> Path:
    """Empty folders as Animal Kingdom has them; returns action_recognition."""
    folder = root / "Animal_Kingdom" / "action_recognition"
    for name in LAYOUTS[layout].values():
        (folder / name).mkdir(parents=True)
    return folder


def one_line(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """The run ended with status 2 and with one line, which holds every part."""
    assert done.returncode == 2, done.stdout + done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("prepare_dir_AR: error: "), lines
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_layouts_are_linked_under_the_same_names(
    layout, tmp_path, wheel_tree, overlay, snapshot
):
    before = snapshot(wheel_tree)
    folder = data_set(tmp_path / "big disk", layout)
    assert overlay.link(wheel_tree, "--data", folder).returncode == 0
    linked = {p.name: p.resolve() for p in (wheel_tree / "data/ak").iterdir()}
    assert linked == {name: folder / path for name, path in LAYOUTS[layout].items()}
    assert "up to date" in overlay.link(wheel_tree, "--data", folder).stdout
    assert overlay.undo(wheel_tree).returncode == 0
    assert snapshot(wheel_tree) == before


@pytest.mark.parametrize(
    ("variable", "level"), [("DIR_AK_AR", 0), ("DIR_AK", 1), ("DIR_ROOT", 2), ("--data", 2)]
)
def test_every_variable_leads_to_the_data(variable, level, tmp_path, wheel_tree, overlay):
    folder = data_set(tmp_path, "AK's own")
    given = [folder, *folder.parents][level]
    if variable == "--data":
        done = overlay.link(wheel_tree, "--data", given)
    else:
        done = overlay.link(wheel_tree, **{variable: str(given)})
    assert done.returncode == 0, done.stderr
    assert (wheel_tree / "data/ak/image").resolve() == folder / "dataset/image"


def test_data_at_another_place_takes_the_place_of_the_link(tmp_path, wheel_tree, overlay):
    for name in ("first", "second"):
        folder = data_set(tmp_path / name, "flat")
        assert overlay.link(wheel_tree, "--data", folder).returncode == 0
        assert (wheel_tree / "data/ak/image").resolve() == folder / "image"


def test_data_of_the_users_own_in_the_tree_is_a_conflict(tmp_path, wheel_tree, overlay):
    (wheel_tree / "data/ak/image").mkdir(parents=True)
    done = overlay.link(wheel_tree, "--data", data_set(tmp_path, "flat"))
    assert done.returncode == 2 and "data/ak/image is in the way" in done.stderr
    assert not (wheel_tree / "losses").is_symlink()


def test_a_link_to_data_made_by_hand_is_not_exchanged_nor_taken_out(tmp_path, wheel_tree, overlay):
    mine = data_set(tmp_path / "mine", "flat") / "image"
    given = data_set(tmp_path / "given", "flat")
    link = wheel_tree / "data/ak/image"
    link.parent.mkdir(parents=True)
    link.symlink_to(mine)
    done = overlay.link(wheel_tree, "--data", given)
    assert done.returncode == 2 and "1 conflict(s)" in done.stderr
    assert f"data/ak/image is a link of yours, to {mine}, not to {given}" in done.stderr
    assert overlay.link(wheel_tree, "--data", mine.parent).returncode == 0  # it leads there already
    assert overlay.undo(wheel_tree).returncode == 0
    assert [p.readlink() for p in link.parent.iterdir()] == [mine]


def test_a_wrong_data_folder_is_one_line(tmp_path, wheel_tree, overlay):
    one_line(overlay.link(wheel_tree, "--data", tmp_path / "none"), "no folder", "none", "--data")
    one_line(overlay.link(wheel_tree, "--data", tmp_path), "no Animal Kingdom", str(tmp_path))


def test_the_seeds_other_variables_are_said_to_be_unneeded(wheel_tree, overlay):
    done = overlay.link(wheel_tree, DIR_ANACONDA_ENV="/x", DIR_PYTORCHVIDEO_DIST="/y")
    assert done.returncode == 0
    for name in ("DIR_ANACONDA_ENV", "DIR_PYTORCHVIDEO_DIST"):
        assert f"{name} is set; it is not needed" in done.stdout


def test_dir_slowfast_names_the_tree(wheel_tree, overlay):
    steps = ("--skip", "environment", "--skip", "check", "--env", "current")
    assert overlay.run(*steps, DIR_SLOWFAST=str(wheel_tree)).returncode == 0
    assert (wheel_tree / "losses").is_symlink()


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        (["--bogus"], ["unknown option '--bogus'", "--help"]),
        (["--into"], ["--into needs a value"]),
        (["--skip", "dinner"], ["--skip 'dinner'", "environment upstream links check"]),
        (["--upstream", "svn"], ["--upstream 'svn'", "auto, git or wheel"]),
        (["--env", "conda"], ["--env 'conda'", "venv or current"]),
        (["--into", "a", "--slowfast", "b"], ["--into or --slowfast"]),
        (["--slowfast", "none"], ["no SlowFast in", "none", "--slowfast"]),
        (["--undo", "--into", "none"], ["no folder", "none"]),
        (["--check", "--into", "none"], ["no SlowFast in", "none"]),
        (["--check", "--data", "x"], ["--data", "nothing with --check"]),
        (["--undo", "--data=x"], ["--data", "nothing with --undo"]),
        (["--check", "--undo"], ["--check or --undo"]),
        (["--into", "overlay/losses/__init__.py"], ["is a file", "--into"]),
        (["--into", "overlay/losses/__init__.py/x"], ["cannot write in"]),
        (["--into="], ["--into needs a value"]),
        (["--into", "--dry-run"], ["--into needs a value"]),
        (["--demo=1"], ["unknown option '--demo=1'"]),
    ],
)
def test_a_wrong_option_is_one_line_and_makes_nothing(options, parts, overlay, snapshot):
    before = snapshot(overlay.root)
    one_line(overlay.run(*options), *parts)
    assert snapshot(overlay.root) == before


def test_another_base_over_a_tree_is_refused_with_the_ways_out(git_tree, overlay):
    done = overlay.link(git_tree, "--upstream", "wheel")
    one_line(done, "holds the git base", "--into", "--undo")


def test_what_to_type_next_keeps_the_options_and_fits_the_data(tmp_path, wheel_tree, overlay):
    options = ("--skip=environment", "--skip=check", "--env=current", f"--into={wheel_tree}")
    again = f"--skip environment --skip check --env current --into {wheel_tree}"
    done = overlay.run(*options)
    assert done.returncode == 0, done.stderr
    script = overlay.root / "prepare_dir_AR.sh"
    start = f"PYTHON={sys.executable} bash {script} {again}"
    said = done.stdout.replace("\\ ", " ")  # the script quotes spaces in paths
    assert f"Next: {start} --demo\n" in said
    assert f"Your data: {start} --data DIR" in said
    done = overlay.link(wheel_tree, "--data", data_set(tmp_path, "flat"))
    assert f"Your data: cd '{wheel_tree}' && " in done.stdout
    (wheel_tree / "data/ak/annot").unlink()
    assert "Your data: no annotation in" in overlay.link(wheel_tree).stdout


def test_another_data_folder_leaves_nothing_of_the_last_one(tmp_path, wheel_tree, overlay):
    first = data_set(tmp_path, "flat")
    assert overlay.link(wheel_tree, "--data", first).returncode == 0
    only_video = tmp_path / "other"
    (only_video / "video").mkdir(parents=True)
    done = overlay.link(wheel_tree, "--data", only_video)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (wheel_tree / "data/ak").iterdir()] == ["video"]
    assert (wheel_tree / "data/ak/video").resolve() == (only_video / "video").resolve()


@pytest.mark.parametrize("python", ["/bin/false", "no-such-python"])
def test_an_interpreter_that_will_not_do_is_one_line(python, overlay):
    one_line(overlay.run(PYTHON=python), "no Python from 3.11 to 3.13", python, "PYTHON=")


def test_a_dry_run_of_everything_makes_nothing(overlay, snapshot):
    before = snapshot(overlay.root)
    done = overlay.run("--dry-run", "--demo", "--upstream", "wheel")
    assert done.returncode == 0, done.stderr
    for part in (
        "torch==2.13.0",
        "requirements.lock",
        "slowfast==1.0",
        "link the overlay",
        "train",
    ):
        assert part in done.stdout
    assert snapshot(overlay.root) == before


def test_a_failing_pip_is_told_with_its_last_lines_and_its_log(overlay, tmp_path):
    done = overlay.run(
        "--env", "current", "--torch", "no-such-torch==9", "--into", tmp_path / "tree",
        TMPDIR=str(tmp_path / "none"),
        PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull, PIP_FIND_LINKS="",
    )  # fmt: skip
    assert done.returncode == 2
    assert "no-such-torch" in done.stderr
    log = tmp_path / "tree/.prepare_dir_AR.log"
    assert log.is_file() and str(log) in done.stderr.splitlines()[-1]
    assert [p.name for p in log.parent.iterdir()] == [log.name]
    assert overlay.undo(log.parent).returncode == 0 and list(log.parent.iterdir()) == []


def test_the_check_of_the_prepared_tree_finds_nothing(tree, repo):
    done = subprocess.run(
        ["bash", repo / "prepare_dir_AR.sh", "--check", "--env", "current", "--into", tree],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "base wheel (slowfast==1.0)" in done.stdout and "all is well" in done.stdout

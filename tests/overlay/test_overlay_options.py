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
    linked = {p.name: str(p.readlink()) for p in (wheel_tree / "data/ak").iterdir()}
    assert linked == {name: str(folder / path) for name, path in LAYOUTS[layout].items()}
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
    assert (wheel_tree / "data/ak/image").readlink() == folder / "dataset/image"


def test_data_at_another_place_takes_the_place_of_the_link(tmp_path, wheel_tree, overlay):
    for name in ("first", "second"):
        folder = data_set(tmp_path / name, "flat")
        assert overlay.link(wheel_tree, "--data", folder).returncode == 0
        assert (wheel_tree / "data/ak/image").readlink() == folder / "image"


def test_data_of_the_users_own_in_the_tree_is_a_conflict(tmp_path, wheel_tree, overlay):
    (wheel_tree / "data/ak/image").mkdir(parents=True)
    done = overlay.link(wheel_tree, "--data", data_set(tmp_path, "flat"))
    assert done.returncode == 2 and "data/ak/image is in the way" in done.stderr
    assert not (wheel_tree / "losses").is_symlink()


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
        (["--upstream", "git"], ["--upstream git is not there yet", "--upstream wheel"]),
        (["--undo", "--into", "none"], ["no folder", "none"]),
        (["--check", "--into", "none"], ["no SlowFast in", "none"]),
    ],
)
def test_a_wrong_option_is_one_line_and_makes_nothing(options, parts, overlay, snapshot):
    before = snapshot(overlay.root)
    one_line(overlay.run(*options), *parts)
    assert snapshot(overlay.root) == before


def test_another_base_over_a_tree_is_refused_with_the_ways_out(git_tree, overlay):
    done = overlay.link(git_tree, "--upstream", "wheel")
    one_line(done, "holds the git base", "--into", "--undo")


def test_a_slowfast_that_imports_its_authors_package_is_refused(git_tree, overlay):
    (git_tree / "tools/run_net.py").write_text("from vision.fair.slowfast import demo\n")
    one_line(overlay.link(git_tree), "internal to its authors")


@pytest.mark.parametrize("python", ["/bin/false", "no-such-python"])
def test_an_interpreter_that_will_not_do_is_one_line(python, overlay):
    one_line(overlay.run(PYTHON=python), "no Python from 3.11 to 3.13", python, "PYTHON=")


def test_a_dry_run_of_everything_makes_nothing(overlay, snapshot):
    before = snapshot(overlay.root)
    done = overlay.run("--dry-run", "--demo")
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
    log_folder = tmp_path / "logs"
    log_folder.mkdir()
    done = overlay.run(
        "--env", "current", "--torch", "no-such-torch==9", "--into", tmp_path / "tree",
        TMPDIR=str(log_folder), PIP_NO_INDEX="1", PIP_CONFIG_FILE=os.devnull, PIP_FIND_LINKS="",
    )  # fmt: skip
    assert done.returncode == 2
    assert "no-such-torch" in done.stderr
    assert str(next(log_folder.glob("prepare_dir_AR.*"))) in done.stderr.splitlines()[-1]


def test_the_check_of_the_prepared_tree_finds_nothing(tree, repo):
    done = subprocess.run(
        ["bash", repo / "prepare_dir_AR.sh", "--check", "--env", "current", "--into", tree],
        env={**os.environ, "PYTHON": sys.executable},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "base wheel (slowfast==1.0)" in done.stdout and "all is well" in done.stdout

"""Linking into a tree and taking the links out again: nothing of the user's is changed or lost."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

REPLACED = {
    "git": [
        "slowfast/__init___original.py",
        "slowfast/config/custom_config_original.py",
        "slowfast/models/losses_original.py",
        "tools/run_net_original.py",
    ],
    "wheel": ["slowfast/__init___original.py", "slowfast/models/losses_original.py"],
}
LINKS = {
    "git": [
        "actionrec",
        "configs/AK",
        "losses",
        "slowfast/__init__.py",
        "slowfast/_compat.py",
        "slowfast/ak",
        "slowfast/config/custom_config.py",
        "slowfast/models/losses.py",
        "tools/report.py",
        "tools/run_net.py",
    ],
    "wheel": [
        "actionrec",
        "configs/AK",
        "losses",
        "slowfast/__init__.py",
        "slowfast/_compat.py",
        "slowfast/ak",
        "slowfast/config/custom_config.py",
        "slowfast/models/losses.py",
        "tools",
    ],
}


@pytest.mark.parametrize("base", ["git", "wheel"])
def test_these_files_are_linked_and_these_are_replaced(base, tmp_path, overlay, make_tree):
    tree = make_tree(tmp_path / "tree", base)
    done = overlay.link(tree)
    assert done.returncode == 0, done.stderr
    paths = [p for p in tree.rglob("*") if ".git" not in p.relative_to(tree).parts]
    links = {str(p.relative_to(tree)): str(p.readlink()) for p in paths if p.is_symlink()}
    assert sorted(links) == LINKS[base]
    assert (
        sorted(str(p.relative_to(tree)) for p in paths if "_original" in p.name) == REPLACED[base]
    )
    for name, target in links.items():
        inside = name if name == "losses" or name.startswith("configs/") else f"code_new/{name}"
        assert target == str(overlay.root / inside)
    for name in REPLACED[base]:
        original = name.replace("_original", "")
        assert (tree / name).read_text() == f"# the original of {original}\n"


def test_twice_is_the_same_as_once(slowfast, overlay, snapshot):
    overlay.link(slowfast)
    once = snapshot(slowfast, times=True)
    done = overlay.link(slowfast)
    assert done.returncode == 0 and "up to date" in done.stdout
    assert snapshot(slowfast, times=True) == once


def test_undo_restores_every_byte_and_mode(slowfast, overlay, snapshot, git):
    before = snapshot(slowfast)
    overlay.link(slowfast)
    assert snapshot(slowfast) != before
    assert overlay.undo(slowfast).returncode == 0
    assert snapshot(slowfast) == before
    if (slowfast / ".git").exists():
        assert git(slowfast, "status", "--porcelain") == ""


def test_dry_run_says_what_it_would_do_and_changes_nothing(slowfast, overlay, snapshot):
    before = snapshot(slowfast, times=True)
    done = overlay.link(slowfast, "--dry-run")
    assert done.returncode == 0
    assert "would ln -s" in done.stdout and "losses_original.py" in done.stdout
    assert f"would link {slowfast}" in done.stdout and "leads to" not in done.stdout
    assert snapshot(slowfast, times=True) == before
    overlay.link(slowfast)
    linked = snapshot(slowfast, times=True)
    undone = overlay.run("--undo", "--dry-run", "--slowfast", slowfast)
    assert "would mv" in undone.stdout and "undo: would take" in undone.stdout
    assert snapshot(slowfast, times=True) == linked


@pytest.mark.parametrize("base", ["git", "wheel"])
def test_all_conflicts_are_told_and_nothing_is_changed(
    base, tmp_path, overlay, snapshot, git, make_tree
):
    tree = make_tree(tmp_path / "tree", base)
    (tree / "slowfast/models/losses.py").write_text("# edited\n")
    (tree / "slowfast/_compat.py").write_text("# untracked, in the way\n")
    (tree / "losses").mkdir()
    (tree / "slowfast/ak").symlink_to("nowhere")  # dangling
    (tree / "actionrec").symlink_to("actionrec")  # a loop
    names = ["models/losses.py", "_compat.py", "losses", "slowfast/ak", "actionrec"]
    if base == "git":
        (tree / "tools/run_net.py").write_text("# staged\n")
        git(tree, "add", "tools/run_net.py")
        names.append("tools/run_net.py")
    before = snapshot(tree, times=True)
    done = overlay.link(tree)
    assert done.returncode == 2
    for name in names:
        assert any(name in line for line in done.stderr.splitlines()), name
    assert f"{len(names)} conflict(s)" in done.stderr
    assert len(done.stderr.splitlines()) == len(names) + 1
    assert snapshot(tree, times=True) == before


def test_a_folder_that_leads_out_of_the_tree_is_refused(git_tree, overlay, tmp_path, snapshot):
    outside = tmp_path / "outside"
    shutil.move(git_tree / "slowfast/config", outside)
    (git_tree / "slowfast/config").symlink_to(outside)
    before = snapshot(outside)
    done = overlay.link(git_tree)
    assert done.returncode == 4
    assert "slowfast/config leads out of the tree" in done.stderr
    assert snapshot(outside) == before
    assert not (git_tree / "losses").is_symlink()


@pytest.mark.parametrize(
    "name",
    ["with space", "it's", 'say "x"', "$HOME", "a\nb", "-n", "Ärger 日本", "*", "a\\b", "%s"],
)
def test_any_name_of_a_folder_will_do(name, tmp_path, make_overlay, make_tree, snapshot):
    overlay = make_overlay(tmp_path / name / "overlay")
    tree = make_tree(tmp_path / name / name, "wheel")
    before = snapshot(tree)
    # Relative to the caller's folder, which is neither.
    done = overlay.run(
        "--skip", "environment", "--skip", "check", "--env", "current", "--into", name,
        cwd=tmp_path / name, CDPATH="/", LC_ALL="C",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tree / "losses").readlink() == overlay.root / "losses"
    assert overlay.undo(tree).returncode == 0
    assert snapshot(tree) == before


def test_an_edit_through_a_link_stays_in_the_overlay_and_undo_says_so(slowfast, overlay, git):
    git(overlay.root, "init", "-q")
    git(overlay.root, "add", "-A")
    git(overlay.root, "commit", "-q", "-m", "overlay")
    overlay.link(slowfast)
    (slowfast / "slowfast/models/losses.py").write_text("# edited\n")
    done = overlay.undo(slowfast)
    assert (overlay.root / "code_new/slowfast/models/losses.py").read_text() == "# edited\n"
    assert str(overlay.root) in done.stdout and "git status" in done.stdout


def test_undo_keeps_what_the_user_put_in_the_tree(slowfast, overlay):
    overlay.link(slowfast)
    mine = {
        "slowfast/models/losses.py": "# my own, instead of the link\n",
        "slowfast/models/losses_original.py": "# my edit of the original\n",
        "slowfast/mine.py": "# mine\n",
        "configs/mine.yaml": "mine: 1\n",
    }
    for name, text in mine.items():
        (slowfast / name).unlink(missing_ok=True)
        (slowfast / name).write_text(text)
    done = overlay.undo(slowfast)
    assert "left alone" in done.stderr and "losses.py" in done.stderr
    assert {name: (slowfast / name).read_text() for name in mine} == mine
    assert not (slowfast / "losses").is_symlink()


def test_a_link_of_the_users_own_is_a_conflict_and_stays(tmp_path, slowfast, overlay, snapshot):
    (tmp_path / "mine/configs/AK").mkdir(parents=True)
    (tmp_path / "mine/losses").mkdir()
    (slowfast / "configs").mkdir(exist_ok=True)
    for name in ("losses", "configs/AK"):
        (slowfast / name).symlink_to(tmp_path / "mine" / name)
    (slowfast / "tools").mkdir(exist_ok=True)
    (slowfast / "tools/configs").symlink_to("nowhere/losses")
    before = snapshot(slowfast, times=True)
    done = overlay.link(slowfast)
    assert done.returncode == 2 and "2 conflict(s)" in done.stderr
    for name in ("losses", "configs/AK"):
        theirs, ours = tmp_path / "mine" / name, overlay.root / name
        assert f"{name} is a link of yours, to {theirs}, not to {ours}" in done.stderr
    assert "took 0 links" in overlay.undo(slowfast).stdout
    assert snapshot(slowfast, times=True) == before


def test_the_links_of_an_overlay_that_is_gone_are_taken_out(slowfast, overlay, tmp_path, snapshot):
    before = snapshot(slowfast)
    overlay.link(slowfast)
    other = type(overlay)(tmp_path / "other")
    shutil.copytree(overlay.root, other.root)
    shutil.rmtree(overlay.root)
    assert other.undo(slowfast).returncode == 0
    assert snapshot(slowfast) == before


def test_a_git_that_fails_is_one_line_and_nothing_is_changed(git_tree, overlay, tmp_path, snapshot):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text("#!/bin/sh\necho no answer >&2\nexit 3\n")
    (tmp_path / "bin/git").chmod(0o755)
    before = snapshot(git_tree, times=True)
    done = overlay.link(git_tree, PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert f"git status fails in '{git_tree}': no answer" in done.stderr
    assert snapshot(git_tree, times=True) == before


@pytest.mark.parametrize("command", [("checkout", "."), ("stash",), ("reset", "--hard")])
def test_check_and_a_second_run_find_what_git_put_back(command, git_tree, overlay, snapshot, git):
    overlay.link(git_tree)
    linked = snapshot(git_tree)
    git(git_tree, *command)
    assert not (git_tree / "slowfast/models/losses.py").is_symlink()
    check = overlay.run("--check", "--env", "current", "--any-commit", "--slowfast", git_tree)
    assert check.returncode == 2
    assert "not installed: slowfast/models/losses.py" in check.stderr
    assert overlay.link(git_tree).returncode == 0
    assert snapshot(git_tree) == linked


def test_an_overlay_that_moved_is_checked_undone_and_linked_anew(
    slowfast, tmp_path, overlay, snapshot
):
    before = snapshot(slowfast)
    overlay.link(slowfast)
    moved = type(overlay)(tmp_path / "elsewhere" / "overlay")
    moved.root.parent.mkdir()
    shutil.move(overlay.root, moved.root)
    check = moved.run("--check", "--env", "current", "--slowfast", slowfast)
    assert check.returncode == 2 and "not installed: losses" in check.stderr
    assert moved.link(slowfast).returncode == 0
    assert (slowfast / "losses").readlink() == moved.root / "losses"
    shutil.move(moved.root, overlay.root)
    assert overlay.undo(slowfast).returncode == 0
    assert snapshot(slowfast) == before


def test_two_trees_of_one_overlay_do_not_touch_each_other(tmp_path, overlay, make_tree, snapshot):
    first = make_tree(tmp_path / "first", "git")
    second = make_tree(tmp_path / "second", "wheel")
    before = snapshot(second)
    overlay.link(first)
    overlay.link(second)
    linked = snapshot(first)
    overlay.undo(second)
    assert snapshot(second) == before and snapshot(first) == linked


def test_a_new_file_in_a_linked_folder_needs_no_second_run(wheel_tree: Path, overlay):
    overlay.link(wheel_tree)
    (overlay.root / "code_new/tools/new.py").write_text("")
    assert (wheel_tree / "tools/new.py").exists()

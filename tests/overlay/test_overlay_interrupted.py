"""Runs that are cut short, and several at once: the next run completes or undoes the work."""

from __future__ import annotations

import fcntl
import signal
import subprocess
from pathlib import Path

import pytest

# Counts the commands of the script in a trap and sends a signal before one of them. MATCH narrows
# it to the commands that change something.
COUNTER = """
set -T
count=0
trap '
  if [[ -z ${MATCH:-} || $BASH_COMMAND == $MATCH ]]; then
    count=$((count + 1))
    if ((count == ${AT:-0})) && ((BASH_SUBSHELL == 0)); then kill -s "$SIGNAL" $$; fi
    if [[ -n ${TOTAL:-} ]] && ((BASH_SUBSHELL == 0)); then echo "$count" >"$TOTAL"; fi
  fi' DEBUG
"""
CHANGES = '"$@"'  # the line of the script's run() that moves, links or makes


@pytest.fixture
def counter(tmp_path: Path) -> str:
    (tmp_path / "counter.sh").write_text(COUNTER)
    return str(tmp_path / "counter.sh")


def total(tmp_path: Path, run, *args, **env) -> int:
    """How many commands such a run has."""
    assert run(*args, TOTAL=str(tmp_path / "total"), SIGNAL="KILL", **env).returncode == 0
    return int((tmp_path / "total").read_text())


def points(count: int, most: int) -> list[int]:
    """At most `most` of 1..count, both ends among them."""
    step = max(1, -(-count // most))
    return sorted({*range(1, count + 1, step), count})


@pytest.mark.parametrize(("match", "most"), [(CHANGES, 100), ("", 5)], ids=["changes", "all"])
def test_a_killed_install_is_completed_and_undone(
    match, most, tmp_path, wheel_tree, overlay, snapshot, counter
):
    env = {"BASH_ENV": counter, "MATCH": match}
    before = snapshot(wheel_tree)
    count = total(tmp_path, overlay.link, wheel_tree, **env)
    linked = snapshot(wheel_tree)
    overlay.undo(wheel_tree)
    for at in points(count, most):
        killed = overlay.link(wheel_tree, AT=str(at), SIGNAL="KILL", **env)
        assert killed.returncode == -signal.SIGKILL, at
        if at % 2:
            assert overlay.link(wheel_tree).returncode == 0, at
            assert snapshot(wheel_tree) == linked, at
        assert overlay.undo(wheel_tree).returncode == 0, at
        assert snapshot(wheel_tree) == before, at


@pytest.mark.parametrize(("match", "most"), [(CHANGES, 100), ("", 5)], ids=["changes", "all"])
def test_a_killed_undo_is_completed_and_installed_again(
    match, most, tmp_path, wheel_tree, overlay, snapshot, counter
):
    env = {"BASH_ENV": counter, "MATCH": match}
    before = snapshot(wheel_tree)
    overlay.link(wheel_tree)
    linked = snapshot(wheel_tree)
    for at in points(total(tmp_path, overlay.undo, wheel_tree, **env), most):
        overlay.link(wheel_tree)
        assert overlay.undo(wheel_tree, AT=str(at), SIGNAL="KILL", **env).returncode < 0, at
        if at % 2:
            assert overlay.undo(wheel_tree).returncode == 0, at
            assert snapshot(wheel_tree) == before, at
        assert overlay.link(wheel_tree).returncode == 0, at
        assert snapshot(wheel_tree) == linked, at
        overlay.undo(wheel_tree)


@pytest.mark.parametrize("name", ["TERM", "INT", "HUP"])
def test_a_signal_leaves_no_lock_and_the_next_run_completes(
    name, tmp_path, git_tree, overlay, snapshot, counter
):
    env = {"BASH_ENV": counter, "MATCH": CHANGES}
    before = snapshot(git_tree)
    stopped = overlay.link(git_tree, AT="4", SIGNAL=name, **env)
    assert stopped.returncode == 128 + signal.Signals[f"SIG{name}"]
    assert list(git_tree.glob(".prepare*")) == []
    assert overlay.link(git_tree).returncode == 0
    assert overlay.undo(git_tree).returncode == 0
    assert snapshot(git_tree) == before


def test_of_several_at_once_one_works_and_the_others_say_so(git_tree, overlay, snapshot):
    overlay.link(git_tree)
    linked = snapshot(git_tree)
    overlay.undo(git_tree)
    steps = ("--skip", "environment", "--skip", "check", "--env", "current", "--any-commit")
    command = overlay.command(*steps, "--slowfast", git_tree)
    started = [
        subprocess.Popen(
            command, env=overlay.env(), stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL
        )
        for _ in range(8)
    ]
    results = [(p.communicate()[1], p.returncode) for p in started]
    assert {code for _, code in results} <= {0, 2}
    assert any(code == 0 for _, code in results)
    assert all("lock held" in text for text, code in results if code == 2)
    assert snapshot(git_tree) == linked


def test_a_held_lock_is_one_line(wheel_tree, overlay):
    with (wheel_tree / ".prepare_dir_AR.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        done = overlay.link(wheel_tree)
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1
    assert "lock held" in done.stderr and str(wheel_tree) in done.stderr


def test_a_lock_of_a_killed_run_is_no_obstacle_and_goes(wheel_tree, overlay):
    (wheel_tree / ".prepare_dir_AR.lock").touch()
    for run in (overlay.link, overlay.undo):
        (wheel_tree / ".prepare_dir_AR.work").mkdir()
        (wheel_tree / ".prepare_dir_AR.work/half.py").touch()
        assert run(wheel_tree).returncode == 0
        assert list(wheel_tree.glob(".prepare*")) == []

"""Warnings are yellow and errors red on a terminal, and plain everywhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = """
import logging, sys
sys.path[:0] = sys.argv[1:3]
from actionrec import front_door
from actionrec.engine.logging import setup_logging
from actionrec.errors import UserError

def work():
    from pathlib import Path
    setup_logging(Path(sys.argv[3]))
    logging.getLogger("x").info("fine")
    logging.getLogger("x").warning("a clip is \\x1b[32m bad")
    logging.getLogger("x").error("broken")
    raise UserError("no such file")

sys.exit(front_door.answer("tool", work))
"""
MESSAGES = ("fine", r"a clip is \x1b[32m bad", "broken", "tool: error: no such file")
YELLOW, RED, END = "\x1b[33m", "\x1b[31m", "\x1b[0m"


def lines_of(repo: Path, folder: Path, *, on_terminal: bool, **env: str) -> list[str]:
    """What the command shows on a terminal, or in a pipe."""
    command = [sys.executable, "-c", COMMAND, repo, repo / "code_new", folder]
    outside = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "TERM")}
    ours, theirs = pty.openpty() if on_terminal else os.pipe()
    done = subprocess.run(
        command, stdout=theirs, stderr=theirs, env={**outside, "TERM": "xterm", **env}
    )
    os.close(theirs)
    shown = os.read(ours, 10_000).decode()
    os.close(ours)
    assert done.returncode == 2, shown
    return shown.replace("\r\n", "\n").splitlines()


def in_file(folder: Path) -> list[str]:
    return (folder / "stdout.log").read_text().splitlines()


def test_a_terminal_shows_warnings_in_yellow_and_errors_in_red(repo, tmp_path):
    fine, warning, error, answer = lines_of(repo, tmp_path, on_terminal=True)
    assert "\x1b" not in fine
    assert warning.startswith(f"{YELLOW}[") and warning.endswith(MESSAGES[1] + END)
    assert error.startswith(f"{RED}[") and error.endswith(MESSAGES[2] + END)
    assert answer == f"{RED}{MESSAGES[3]}{END}"
    assert not any("\x1b" in line for line in in_file(tmp_path))


@pytest.mark.parametrize(
    ("on_terminal", "env"),
    [(False, {}), (True, {"NO_COLOR": "1"}), (True, {"TERM": "dumb"})],
    ids=["pipe", "NO_COLOR", "dumb"],
)
def test_elsewhere_everything_is_plain(repo, tmp_path, on_terminal, env):
    lines = lines_of(repo, tmp_path, on_terminal=on_terminal, **env)
    assert lines == [*in_file(tmp_path), MESSAGES[3]]
    assert all(line.endswith(end) for line, end in zip(lines, MESSAGES, strict=True))


def test_an_empty_no_color_is_none(repo, tmp_path):
    assert RED in lines_of(repo, tmp_path, on_terminal=True, NO_COLOR="")[-1]

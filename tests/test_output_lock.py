"""One run at a time in a folder: who holds it is said, and a killed run holds nothing."""

from __future__ import annotations

import os
import re
import socket
import time

import pytest
from interrupted_runs import console, log, start_program

LONG = ("loader.num_workers=2", "solver.max_epoch=10000", "train.keep_checkpoints=1")


@pytest.fixture
def running(clips, tmp_path):
    """(folder, program) of a run in the middle of its training, which reads clips by processes."""
    out = tmp_path / "out"
    program = start_program(clips, out, *LONG)
    wait_for("saved ", out, program)
    yield out, program
    program.kill()
    program.wait(30)


def wait_for(text, out, program, count=1, limit_sec=60):
    until = time.monotonic() + limit_sec
    while log(out).count(text) < count:
        assert program.poll() is None and time.monotonic() < until, console(out)
        time.sleep(0.02)


def test_E4_a_second_run_is_told_who_holds_the_folder_and_another_folder_is_free(
    clips, tmp_path, running
):
    out, program = running
    second = start_program(clips, out, *LONG)
    assert second.wait(60) == 2
    (line,) = re.findall(r"^tiny_run: .*", console(out), re.MULTILINE)
    holder = f"process {program.pid} on {socket.gethostname()}"
    assert line == (
        f"tiny_run: error: OUTPUT_DIR: {out} is in use by {holder}; wait for its end, or give this "
        "run an OUTPUT_DIR of its own"
    )
    assert "Traceback" not in console(out) and program.poll() is None
    elsewhere = tmp_path / "elsewhere"
    assert start_program(clips, elsewhere, "solver.max_epoch=1").wait(60) == 0, console(elsewhere)


def test_E4_after_a_kill_the_folder_is_free_at_once(clips, running):
    out, first = running
    first.kill()
    first.wait(30)
    os.killpg(first.pid, 0)  # its workers have not even noticed
    second = start_program(clips, out, *LONG)
    try:
        wait_for("resumed from", out, second)
    finally:
        second.kill()
        second.wait(30)
    assert "is in use" not in console(out)

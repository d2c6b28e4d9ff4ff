"""SIGTERM, SIGUSR1 and Ctrl-C to real runs whose clips are read by processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from interrupted_runs import (
    console,
    differences,
    end_of,
    log,
    settings_of,
    start_command,
    start_program,
)
from tiny_run import Tiny

from actionrec.engine import checkpoint
from actionrec.engine.run import run

LEFT_SEC = 30  # what schedulers give
WORKERS = "loader.num_workers=2"


@pytest.fixture(scope="module")
def undisturbed(clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run(settings_of(clips, folder), Tiny)
    return end_of(folder)


def wait_for(text, program, read, limit_sec=120):
    """Return when `read()` holds `text`, which the program has to write."""
    until = time.monotonic() + limit_sec
    while text not in read():
        assert program.poll() is None and time.monotonic() < until, read()
        time.sleep(0.01)


def end_by(program, number, to_group):
    """Send a signal to the program, or to all that it started too, and wait for its end."""
    (os.killpg if to_group else os.kill)(program.pid, number)
    try:
        program.wait(LEFT_SEC)
    except subprocess.TimeoutExpired:
        os.killpg(program.pid, signal.SIGKILL)
        raise


def group_is_gone(program, limit_sec=10):
    until = time.monotonic() + limit_sec
    while time.monotonic() < until:
        try:
            os.killpg(program.pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def own_lines(text, program="tiny_run"):
    return [line for line in text.splitlines() if line.startswith(f"{program}: ")]


@pytest.mark.parametrize(
    ("number", "status", "to_group"),
    [
        pytest.param(signal.SIGTERM, 143, True, id="E3-TERM-group"),
        pytest.param(signal.SIGUSR1, 75, True, id="E3-USR1-group", marks=pytest.mark.slow),
        pytest.param(signal.SIGTERM, 143, False, id="E3-TERM-alone", marks=pytest.mark.slow),
        pytest.param(signal.SIGUSR1, 75, False, id="E3-USR1-alone", marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_and_the_second_start_goes_on(
    clips, tmp_path, undisturbed, number, status, to_group
):
    out = tmp_path / "out"
    program = start_program(clips, out, WORKERS)
    wait_for("train_epoch", program, lambda: log(out))
    end_by(program, number, to_group)
    assert program.returncode == status, console(out)
    (line,) = own_lines(console(out))
    assert line.startswith(f"tiny_run: stopped by {number.name}; epoch ")
    assert line.endswith("; the same command goes on from there")
    assert "Traceback" not in console(out) and group_is_gone(program)
    assert start_program(clips, out, WORKERS).wait(120) == 0, console(out)
    assert "resumed from" in log(out)
    assert differences(end_of(out), undisturbed) == []


def test_ctrl_c_ends_a_run_with_a_line_and_the_next_start_goes_on(clips, tmp_path, undisturbed):
    out = tmp_path / "out"
    program = start_program(clips, out, WORKERS, "train.checkpoint_steps=1")
    wait_for("epoch_00001.pyth", program, lambda: log(out))
    end_by(program, signal.SIGINT, to_group=True)  # as a terminal does
    assert program.returncode == 130, console(out)
    assert own_lines(console(out)) == ["tiny_run: interrupted"]
    assert group_is_gone(program)
    run(settings_of(clips, out), Tiny)
    assert differences(end_of(out), undisturbed) == []


# A real command of some steps on the sample data; the model is narrow.
COMMAND = (
    "SOLVER.MAX_EPOCH 6 SOLVER.WARMUP_EPOCHS 0 TRAIN.BATCH_SIZE 4 RESNET.WIDTH_PER_GROUP 8 "
    "BN.USE_PRECISE_STATS False TEST.ENABLE False LOG_PERIOD 1 TRAIN.EVAL_PERIOD 3 "
    "TRAIN.CHECKPOINT_PERIOD 6 DATA_LOADER.NUM_WORKERS 2"
).split()


@pytest.mark.parametrize(
    ("number", "status", "to_group"),
    [
        pytest.param(signal.SIGTERM, 143, True, id="E3-TERM-group"),
        pytest.param(signal.SIGUSR1, 75, False, id="E3-USR1-alone", marks=pytest.mark.slow),
    ],
)
def test_the_command_saves_at_a_signal_and_ends_the_same(tree, tmp_path, number, status, to_group):
    from actionrec.data.demo import make_demo

    make_demo(tmp_path / "demo", clips_per_split=8)
    folders = {"PATH_TO_DATA_DIR": "annot", "PATH_PREFIX": "image", "VIDEO_PREFIX": "video"}
    data = [t for key, n in folders.items() for t in (f"DATA.{key}", tmp_path / "demo" / n)]

    def start(out):
        command = [sys.executable, "tools/run_net.py", "--cfg", "configs/AK/DEMO.yaml"]
        return start_command([*command, *data, *COMMAND, "OUTPUT_DIR", out], out, tree)

    whole, out = tmp_path / "whole", tmp_path / "out"
    assert start(whole).wait(240) == 0, console(whole)
    program = start(out)
    wait_for("train_iter", program, lambda: log(out))
    end_by(program, number, to_group)
    assert program.returncode == status, console(out)
    (line,) = own_lines(console(out), "run_net")
    assert f"stopped by {number.name}; epoch " in line and "saved " in line
    assert "Traceback" not in console(out) and group_is_gone(program)
    assert "_step_" in checkpoint.find_resume(out).path.name
    assert start(out).wait(240) == 0, console(out)
    assert differences(end_of(out), end_of(whole)) == []

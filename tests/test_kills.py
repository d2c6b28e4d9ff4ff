"""Runs killed at random times and started again: nothing acknowledged is lost, all ends the same.

The two tests marked slow bring the kills to 200, 20 of them of fresh interpreters.
"""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from interrupted_runs import (
    console,
    differences,
    end_of,
    fork_run,
    log,
    settings_of,
    start_program,
    status,
)
from tiny_run import Tiny

from actionrec.engine import checkpoint
from actionrec.engine.run import run

# Until a kill, at most: a good part of a run. Programs import something after their first line too.
FORK_SEC, PROGRAM_SEC = 0.4, 4.0
EVERY_STEP = "train.checkpoint_steps=1"
KEPT = (0, 2)  # TRAIN.KEEP_CHECKPOINTS of even and odd runs: all, and with files removed


@pytest.fixture(scope="module")
def undisturbed(clips, tmp_path_factory):
    """What a run leaves that nobody killed; after it, this interpreter has imported all."""
    folder = tmp_path_factory.mktemp("undisturbed") / "out"
    run(settings_of(clips, folder, EVERY_STEP), Tiny)
    return end_of(folder)


def check_nothing_is_lost(output_dir: Path, keep: int) -> None:
    """Each checkpoint that the log calls saved is there and whole, or a newer one replaced it."""
    saved = [Path(p) for p in re.findall(r"saved (\S+\.pyth)$", log(output_dir), re.MULTILINE)]
    if not saved:
        return
    found = checkpoint.find_resume(output_dir)
    orders = [order for path in saved if (order := checkpoint.resume_order(path))]
    if orders:
        assert found is not None and found.torn == {}
        assert checkpoint.resume_order(found.path) >= max(orders)
    for path in saved:
        order = checkpoint.resume_order(path)  # None: best.pyth, which only newer ones replace
        if order is None or (order[1] == 0 and not keep):
            checkpoint.load_checkpoint(path)


def kill_often(clips, tmp_path, undisturbed, num_kills, start):
    """Runs, one after the other, until `num_kills` were killed and the last came to its end.

    start(out, keep, is_killed) runs until the end, or until it is killed, and tells which.
    """
    kills = runs = 0
    while kills < num_kills:
        out, keep = tmp_path / f"run{runs}", KEPT[runs % 2]
        while start(out, keep, kills < num_kills):
            kills += 1
            check_nothing_is_lost(out, keep)
        assert differences(end_of(out), undisturbed) == [], out
        leftovers = [p for p in out.rglob(".*") if p.name != ".lock"]
        assert leftovers == [], "of killed saves"
        runs += 1
    return kills, runs


def killing_forks(clips, rng):
    def start(out: Path, keep: int, is_killed: bool) -> bool:
        assignments = (EVERY_STEP, f"train.keep_checkpoints={keep}")
        child = fork_run(settings_of(clips, out, *assignments))
        if is_killed:
            time.sleep(rng.uniform(0, FORK_SEC))
            os.kill(child, signal.SIGKILL)
        code = status(child)
        assert code in (0, -signal.SIGKILL), console(out)
        return code != 0

    return start


def killing_programs(clips, rng):
    def start(out: Path, keep: int, is_killed: bool) -> bool:
        before = len(log(out))
        program = start_program(clips, out, EVERY_STEP, f"train.keep_checkpoints={keep}")
        while program.poll() is None and len(log(out)) == before:
            time.sleep(0.01)  # as long as it only imports
        if is_killed:
            time.sleep(rng.uniform(0, PROGRAM_SEC))
            program.kill()
        assert program.wait() in (0, -signal.SIGKILL), console(out)
        return program.returncode != 0

    return start


@pytest.mark.parametrize(
    "num_kills",
    [pytest.param(18, id="E2-18"), pytest.param(180, id="E2-180", marks=pytest.mark.slow)],
)
def test_killed_forks_end_bit_identical(clips, tmp_path, undisturbed, num_kills, capsys):
    start = killing_forks(clips, np.random.default_rng(num_kills))
    kills, runs = kill_often(clips, tmp_path, undisturbed, num_kills, start)
    with capsys.disabled():
        print(f" {kills} kills, {runs} of {runs} runs identical", end=" ")


@pytest.mark.parametrize(
    "num_kills",
    [pytest.param(2, id="E2-2"), pytest.param(20, id="E2-20", marks=pytest.mark.slow)],
)
def test_killed_programs_end_bit_identical(clips, tmp_path, undisturbed, num_kills, capsys):
    start = killing_programs(clips, np.random.default_rng(num_kills))
    kills, runs = kill_often(clips, tmp_path, undisturbed, num_kills, start)
    with capsys.disabled():
        print(f" {kills} kills, {runs} of {runs} runs identical", end=" ")

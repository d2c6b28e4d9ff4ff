"""Several processes of which one is killed, fails, is missing or differs: what a user then sees."""

from __future__ import annotations

import importlib
import os
import shutil
import signal
import sys
from unittest import mock

import numpy as np
import pytest
from processes import TINY_RUN, Program, free_port, in_processes, launched, torchrun, wait_for_steps
from tiny_run import Tiny, changed, make_settings, same, weights

from actionrec import launched as launched_as
from actionrec.engine import checkpoint
from actionrec.engine.run import run
from actionrec.errors import UserError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

STEPS = 18  # of a whole run
SAVED_OFTEN = ("train.checkpoint_steps=1", "log_period=1")


@pytest.fixture(scope="module")
def uninterrupted(clips, tmp_path_factory):
    """The folder of a run of two processes that nothing disturbed."""
    out = tmp_path_factory.mktemp("two") / "out"
    program = torchrun(clips, out, *SAVED_OFTEN)
    assert program.wait() == 0, program.all_errors()
    assert program.errors() == []
    return out


def assert_same_end(out, other):
    one, two = (
        checkpoint.load_checkpoint(checkpoint.checkpoint_path(folder, 6)) for folder in (out, other)
    )
    assert same(one["model_state"], two["model_state"])
    for name, state in one["optimizer_state"]["state"].items():
        assert same(state, two["optimizer_state"]["state"][name])
    for key in ("best_map", "history", "world_size", "step", "loss_state"):
        assert one[key] == two[key], key
    assert (out / "results.csv").read_bytes() == (other / "results.csv").read_bytes()


def kill_and_go_on(clips, out, kills, seed):
    """Kill a process of the run after some steps, start it again, as often as `kills` says."""
    draw = np.random.default_rng(seed)
    done = 0
    while done < kills:
        program = launched(clips, out, *SAVED_OFTEN)
        rank = done % 2
        if not wait_for_steps(
            program, out, draw.integers(1, max(STEPS // kills, 2), endpoint=True)
        ):
            break  # it was faster than the kill
        program.send(signal.SIGKILL, rank)
        assert program.wait(60) == 2
        said = program.errors()
        assert len(said) == 1, program.all_errors()
        assert f"process {rank} of 2 was ended by SIGKILL" in said[0]
        assert "Traceback" not in program.all_errors()
        done += 1
    last = launched(clips, out, *SAVED_OFTEN)
    assert last.wait() == 0, last.all_errors()
    return done


def test_after_kills_the_same_command_ends_as_if_nothing_had_been(clips, uninterrupted, tmp_path):
    assert kill_and_go_on(clips, tmp_path / "out", 3, seed=0) == 3
    assert_same_end(tmp_path / "out", uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_so_it_does_after_many(clips, uninterrupted, tmp_path, seed):
    assert kill_and_go_on(clips, tmp_path / "out", 5, seed) == 5
    assert_same_end(tmp_path / "out", uninterrupted)


@pytest.mark.slow
def test_under_torchrun_a_killed_process_ends_the_other(clips, tmp_path):
    program = torchrun(clips, tmp_path / "out", *SAVED_OFTEN)
    assert wait_for_steps(program, tmp_path / "out", 2)
    program.send(signal.SIGKILL, 1)
    assert program.wait(60) == 1
    assert len(program.errors()) <= 1 and "SIGKILL" in program.all_errors()


@pytest.mark.parametrize(
    "cases",
    [
        [(torchrun, None, signal.SIGTERM, 1)],  # it has no other exit status
        pytest.param(
            [
                (launched, "all", signal.SIGUSR1, 75),
                (launched, None, signal.SIGTERM, 143),
                (launched, 0, signal.SIGTERM, 143),
            ],
            marks=pytest.mark.slow,
        ),
        pytest.param(
            [
                (launched, None, signal.SIGUSR1, 75),
                (launched, 1, signal.SIGUSR1, 75),
                (launched, 1, signal.SIGTERM, 143),
            ],
            marks=pytest.mark.slow,
        ),
    ],
    ids=["torchrun", "launched", "launched too"],
)
def test_after_signals_the_same_command_ends_as_if_nothing_had_been(
    clips, uninterrupted, tmp_path, cases
):
    out = tmp_path / "out"
    for start, rank, number, status in cases:
        program = start(clips, out, *SAVED_OFTEN)
        assert wait_for_steps(program, out, 2)
        program.send(number, rank)
        assert program.wait(30) == status, program.all_errors()
        (said,) = program.errors()
        assert f"stopped by {number.name}; epoch " in said and ", saved " in said
        assert "the same command goes on from there" in said
    last = torchrun(clips, out, *SAVED_OFTEN)
    assert last.wait() == 0, last.all_errors()
    assert_same_end(out, uninterrupted)


@pytest.mark.slow
def test_a_process_that_hangs_ends_the_other_in_time(clips, tmp_path):
    program = launched(clips, tmp_path / "out", *SAVED_OFTEN, "dist_timeout_sec=5")
    assert wait_for_steps(program, tmp_path / "out", 2)
    program.send(signal.SIGSTOP, 1)
    said = one_message(program, 1)  # of 5 s, 10 s for the other's message and 30 s for its end
    assert "process 0 of 2 ends, as another one has ended, or has not answered within" in said


@pytest.mark.slow
def test_ctrl_c_reaches_all_processes_and_is_told_once(clips, tmp_path):
    program = launched(clips, tmp_path / "out", *SAVED_OFTEN)
    assert wait_for_steps(program, tmp_path / "out", 2)
    program.send(signal.SIGINT, "all")
    assert one_message(program, 130) == "tiny_run: interrupted"
    assert "Traceback" not in program.all_errors()


def one_message(program, status=2, timeout_sec=60):
    assert program.wait(timeout_sec) == status, program.all_errors()
    (said,) = program.errors()
    assert said not in program.output()  # nor there a second time
    return said


@pytest.mark.parametrize(
    ("start", "clip_id", "status"),
    [
        (torchrun, "TRAIN00", 1),
        pytest.param(launched, "TRAIN01", 2, marks=pytest.mark.slow),  # in process 1
    ],
)
def test_a_process_that_fails_ends_all_with_its_message(clips, tmp_path, start, clip_id, status):
    root = tmp_path / "broken"
    shutil.copytree(clips, root)
    for frame in (root / "image" / clip_id).iterdir():
        frame.write_bytes(b"no image")
    program = start(root, tmp_path / "out", 'data.bad_clips="error"')
    assert f"clip {clip_id}: " in one_message(program, status)


@pytest.mark.slow
def test_what_all_processes_find_is_told_once(clips, tmp_path):
    program = launched(clips, tmp_path / "out", "input.mean=[NaN, NaN, NaN]")
    said = one_message(program)
    assert "bce_loss is nan at epoch 1, step 0, learning rate " in said and "clips TRAIN" in said


def test_a_process_that_never_starts_is_missed_in_time(clips, tmp_path):
    alone = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "2"}
    place = {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port())}
    command = [sys.executable, TINY_RUN, clips, tmp_path / "out", "dist_timeout_sec=2"]
    said = one_message(Program(command, tmp_path / "said", **alone, **place))
    assert "process 0 of 2 did not meet the others within DIST_TIMEOUT_SEC 2" in said
    assert not (tmp_path / "out").exists()


def run_of_a_process(root, out, *assignments):
    try:
        run(changed(make_settings(root, out), *assignments), Tiny)
    except UserError as error:
        return str(error)


@pytest.mark.parametrize(
    ("differs", "named"),
    [
        ('1:data.annotation_dir="{other}"', "sha256 of train.csv: process 0 has "),
        ('1:config_yaml="MODEL: {{LOSS_FUNC: LDAM}}"', "sha256 of config: process 0 has "),
    ],
)
def test_processes_with_other_inputs_are_refused(clips, tmp_path, differs, named):
    other = tmp_path / "annot"
    shutil.copytree(clips / "annot", other)
    table = (other / "train.csv").read_text().splitlines()
    (other / "train.csv").write_text("\n".join(table[:-6]) + "\n")
    differs = differs.format(other=other)
    one, two = in_processes(2, run_of_a_process, clips, tmp_path / "out", differs)
    assert one == two
    assert one.startswith(named) and "need the same code, configuration, annotation" in one


def test_a_run_of_two_goes_on_in_one_process_and_says_what_that_means(
    clips, uninterrupted, tmp_path
):
    out = tmp_path / "out"
    shutil.copytree(uninterrupted, out)
    for epoch in (4, 5, 6):
        for path in (out / "checkpoints").glob(f"checkpoint_epoch_{epoch:05d}*"):
            path.unlink()
    assert run_of_a_process(clips, out, *SAVED_OFTEN) is None
    log = (out / "stdout.log").read_text()
    line = "processes: 2 when it was saved, 1 now: the run goes on, but not to the last bit"
    assert line in log and weights(out)


def run_with_a_signal(where, rank, root, out, *assignments):
    """A run in which one process receives SIGTERM as it begins to score clips."""
    import actionrec.engine as engine

    module, _, name = where.rpartition(".")
    owner = importlib.import_module(f"{engine.__name__}.{module}")
    score = getattr(owner, name)

    def score_after_signal(*arguments, **options):
        if launched_as.rank() == rank:
            os.kill(os.getpid(), signal.SIGTERM)
        return score(*arguments, **options)

    with mock.patch.object(owner, name, score_after_signal):
        return run_of_a_process(root, out, *assignments)


@pytest.mark.parametrize(
    ("where", "saved"),
    [
        ("validate.score_clips", "epoch 2 is saved, its validation was not finished"),
        ("final_test.score_views", "checkpoint_epoch_00006.pyth is whole, its test was not"),
    ],
)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_signal_to_one_ends_validation_and_test_in_both(clips, tmp_path, where, saved, rank):
    out = tmp_path / "out"
    rarely = "train.checkpoint_period=3"
    one, two = in_processes(2, run_with_a_signal, where, rank, clips, out, rarely)
    assert one == two and one.startswith("stopped by SIGTERM; ") and saved in one
    assert weights(out, 2 if "epoch 2" in saved else 6)


@pytest.mark.parametrize("where", ["validate.score_clips", "final_test.score_views"])
def test_so_it_does_in_one_process_and_the_same_command_goes_on(clips, tmp_path, where):
    said = run_with_a_signal(where, 0, clips, tmp_path / "out")
    assert "was not finished; the same command goes on from there" in said
    assert not (tmp_path / "out" / "results.csv").exists()
    assert run_of_a_process(clips, tmp_path / "out") is None
    assert (tmp_path / "out" / "results.csv").exists()

"""How several processes are started: by our own launcher, on two machines, and what may fail."""

from __future__ import annotations

import signal
import socket
import sys

import pytest
from processes import TINY_RUN, Program, free_port, launched, wait_for_steps

from actionrec.engine.launch import launch
from actionrec.errors import UserError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SAVED_OFTEN = ("train.checkpoint_steps=1", "log_period=1")


def test_a_place_to_meet_that_is_no_address_is_refused():
    for wrong in ("", "env://", "tcp://host", "localhost:9999", "tcp://host:port"):
        with pytest.raises(UserError, match="--init_method: .* is not tcp://HOST:PORT"):
            launch(["no.py"], processes=1, machines=2, meeting_point=wrong)


@pytest.mark.parametrize("machine", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_machines_that_do_not_meet_are_told_in_time(clips, tmp_path, machine):
    """Machine 0 finds its port taken; machine 1 finds no one there, or no such host."""
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        taken.listen()
        port = taken.getsockname()[1]
        where = f"tcp://localhost:{port}" if machine == 0 else f"tcp://no.such.host.invalid:{port}"
        place = {"machines": 2, "machine": machine, "meeting_point": where, "timeout_sec": 3}
        program = launched(clips, tmp_path / "out", **place)
        assert program.wait(60) == 2, program.all_errors()
    (said,) = program.errors()
    assert f"the machines did not meet at {where} (" in said and "--init_method" in said
    assert "Traceback" not in program.all_errors()


@pytest.mark.slow
def test_a_wrong_address_of_torchruns_is_told(clips, tmp_path):
    place = {"RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "no.such.host.invalid"}
    command = [sys.executable, TINY_RUN, clips, tmp_path / "out", "dist_timeout_sec=2"]
    program = Program(command, tmp_path / "said", MASTER_PORT=str(free_port()), **place)
    assert program.wait(60) == 2, program.all_errors()
    (said,) = program.errors()
    assert "process 1 of 2 did not meet the others" in said and "--init_method" in said


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_run_on_both_machines(clips, tmp_path):
    out = tmp_path / "out"

    def start():
        place = {"processes": 1, "machines": 2, "meeting_point": f"tcp://localhost:{free_port()}"}
        return [
            launched(clips, out, *SAVED_OFTEN, machine=machine, folder=tmp_path / "said", **place)
            for machine in (0, 1)
        ]

    first, second = start()
    assert wait_for_steps(first, out, 4)
    second.send(signal.SIGKILL, 0)  # its only one
    assert (first.wait(60), second.wait(60)) == (1, 2)
    assert "process 0 of 2 ends, as another one has ended" in "".join(first.errors())
    assert "process 1 of 2 was ended by SIGKILL" in "".join(second.errors())
    assert len(first.errors() + second.errors()) == 2
    again = start()
    assert [program.wait(60) for program in again] == [0, 0], again[0].all_errors()
    assert "resumed from" in again[0].output()


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    """A run of seconds on eight training and eight test clips, as overrides of DEMO.yaml."""
    from actionrec.data.demo import make_demo

    folder = tmp_path_factory.mktemp("demo") / "demo"
    make_demo(folder, clips_per_split=8)
    places = [("PATH_TO_DATA_DIR", "annot"), ("PATH_PREFIX", "image"), ("VIDEO_PREFIX", "video")]
    overrides = [text for key, name in places for text in (f"DATA.{key}", str(folder / name))]
    return (
        overrides
        + (
            "SOLVER.MAX_EPOCH 1 SOLVER.WARMUP_EPOCHS 0 RESNET.WIDTH_PER_GROUP 8 TRAIN.BATCH_SIZE 2 "
            "BN.USE_PRECISE_STATS False TEST.NUM_ENSEMBLE_VIEWS 1 TEST.NUM_SPATIAL_CROPS 1 "
            "LOG_PERIOD 1 DATA_LOADER.NUM_WORKERS 0 BN.NORM_TYPE sync_batchnorm NUM_GPUS 0"
        ).split()
    )


def machine(tree, tmp_path, number, port, overrides):
    """`tools/run_net.py` as it is typed on one of two machines."""
    command = [sys.executable, "tools/run_net.py", "--cfg", "configs/AK/DEMO.yaml"]
    command += ["--num_shards", 2, "--shard_id", number]
    command += ["--init_method", f"tcp://localhost:{port}", *overrides]
    command += ["OUTPUT_DIR", tmp_path / "out", "DIST_TIMEOUT_SEC", 60]
    return Program(command, tmp_path / f"machine{number}", cwd=tree)


def test_two_machines_train_and_test_as_one(tree, quick, tmp_path):
    port = free_port()
    both = [machine(tree, tmp_path, number, port, quick) for number in (0, 1)]
    assert [program.wait(120) for program in both] == [0, 0], both[0].all_errors()
    first, second = (program.output() for program in both)
    assert "2 processes, the first on cpu" in first and "test of 8 of 8 clips" in first
    assert "json_stats" not in second
    log = (tmp_path / "out" / "stdout.log").read_text()
    assert '"iter": "2/2"' in log  # TRAIN.BATCH_SIZE counts the clips of each machine
    assert log.count("train_epoch") == 1
    assert [program.errors("run_net: ") for program in both] == [[], []]


@pytest.mark.slow
def test_machines_with_other_configurations_are_refused(tree, quick, tmp_path):
    port = free_port()
    losses = ("bce_loss", "focal_loss")
    both = [
        machine(tree, tmp_path, number, port, [*quick, "MODEL.LOSS_FUNC", losses[number]])
        for number in (0, 1)
    ]
    assert [program.wait(120) for program in both] == [2, 2]
    said = [line for program in both for line in program.errors("run_net: ")]
    assert said and all("sha256 of config: process 0 has " in line for line in said)
    assert "Traceback" not in "".join(program.all_errors() for program in both)

"""Scalars reach TensorBoard and Weights & Biases; what goes wrong there never ends a run."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from actionrec.engine import wandb_run
from actionrec.engine.scalars import ScalarWriter


def scalars_in(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_tensorboard_reads_what_was_written_by_both_starts_of_a_run(tmp_path):
    for start in (0, 2):
        writer = ScalarWriter(tmp_path / "runs")
        for step in (start, start + 1):
            writer.write("Val/mAP", step / 4, step)
        writer.write("Train/loss", 0.5, start)
        writer.close()
    assert len(list((tmp_path / "runs").iterdir())) == 2
    assert scalars_in(tmp_path / "runs") == {
        "Val/mAP": [(0, 0.0), (1, 0.25), (2, 0.5), (3, 0.75)],
        "Train/loss": [(0, 0.5), (2, 0.5)],
    }


def test_without_a_writer_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    writer = ScalarWriter(None)
    writer.write("Val/mAP", 0.5, 1)
    writer.close()
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder_is_a_warning(tmp_path, caplog):
    (tmp_path / "runs").write_text("")
    writer = ScalarWriter(tmp_path / "runs")
    writer.write("Val/mAP", 0.5, 1)
    writer.close()
    assert [r.message.partition(":")[0] for r in caplog.records] == [
        "TensorBoard is off from here on"
    ]


ON_A_FULL_DISK = """
import logging, pathlib, sys
sys.path[:0] = sys.argv[2:]
from actionrec.engine.scalars import ScalarWriter
logging.basicConfig(format="%(levelname)s %(message)s")
folder = pathlib.Path(sys.argv[1])
writer = ScalarWriter(folder / "runs")
with (folder / "fill").open("wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(4096))
    except OSError:
        pass
for step in range(200):
    writer.write("Val/mAP", 0.5, step)
writer.close()
print("training went on")
"""


def test_a_full_disk_is_one_warning(tmp_path, repo):
    (tmp_path / "full").mkdir()
    mount = f"mount -t tmpfs -o size=64k tmpfs '{tmp_path}/full' || exit 77\n"
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here, which gives a test a disk of its own")
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", mount + 'exec "$@"', "bash", sys.executable]
        + ["-c", ON_A_FULL_DISK, tmp_path / "full", repo, repo / "code_new"],
        capture_output=True,
        text=True,
    )
    if done.returncode == 77 or "unshare failed" in done.stderr:
        pytest.skip("this machine lets nobody mount a disk of his own")
    assert done.stdout == "training went on\n", done.stderr
    assert done.stderr.splitlines() == [
        "WARNING TensorBoard is off from here on: OSError: [Errno 28] No space left on device"
    ]


@pytest.fixture
def wandb(monkeypatch):
    """A package of that name which keeps what it is told; `fails` names a call that raises."""
    stub = types.ModuleType("wandb")
    stub.calls, stub.fails = [], ""

    def record(name):
        def call(*args, **options):
            if name == stub.fails:
                raise ConnectionError("no network")
            stub.calls.append((name, args, options))
            return types.SimpleNamespace(log=record("log"), finish=record("finish"))

        return call

    stub.init = record("init")
    monkeypatch.setitem(sys.modules, "wandb", stub)
    monkeypatch.setattr(os, "environ", {k: v for k, v in os.environ.items() if "WANDB" not in k})
    return stub


def write_three(tmp_path: Path, folder: Path | None = None) -> None:
    out = tmp_path / "focal"
    writer = ScalarWriter(
        folder, wandb_project="animals", output_dir=out, config_yaml="SOLVER: {BASE_LR: 0.1}"
    )
    for step in range(3):
        writer.write("Val/mAP", step / 4, step)
    writer.close()


def test_weights_and_biases_gets_name_configuration_and_scalars(wandb, tmp_path):
    write_three(tmp_path)
    (init, _, options), *logged, (finish, _, _) = wandb.calls
    assert (init, finish) == ("init", "finish")
    assert options == {
        "project": "animals",
        "name": "focal",
        "group": "focal",
        "dir": str(tmp_path / "focal"),
        "config": {"SOLVER": {"BASE_LR": 0.1}},
    }
    assert logged == [("log", ({"Val/mAP": step / 4},), {"step": step}) for step in range(3)]


@pytest.mark.parametrize(("mode", "used"), [(None, "offline"), ("online", "online")])
def test_nothing_is_sent_unless_the_user_says_so(wandb, tmp_path, mode, used):
    if mode:
        os.environ["WANDB_MODE"] = mode
    write_three(tmp_path)
    assert os.environ["WANDB_MODE"] == used and os.environ["WANDB_ERROR_REPORTING"] == "false"


@pytest.mark.parametrize("fails", ["init", "log", "finish"])
def test_a_lost_network_is_one_warning_and_tensorboard_goes_on(wandb, tmp_path, caplog, fails):
    wandb.fails = fails
    with caplog.at_level(logging.WARNING):
        write_three(tmp_path, tmp_path / "runs")
    assert [r.message for r in caplog.records] == [
        "Weights & Biases is off from here on: ConnectionError: no network"
    ]
    assert scalars_in(tmp_path / "runs")["Val/mAP"] == [(0, 0.0), (1, 0.25), (2, 0.5)]


def test_the_package_is_looked_for_without_importing_it(tmp_path, monkeypatch):
    (tmp_path / "a_package_of_that_name.py").write_text("raise SystemExit('was imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(wandb_run, "PACKAGE", "a_package_of_that_name")
    assert wandb_run.is_installed()
    monkeypatch.setattr(wandb_run, "PACKAGE", "no_package_of_that_name")
    assert not wandb_run.is_installed()

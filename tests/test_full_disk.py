"""Real disks that are full or fail, under a whole run: tmpfs of some KiB, and errors by strace."""

from __future__ import annotations

import shutil
import subprocess
import sys

import pytest
from interrupted_runs import console, differences, end_of, log, settings_of, start_program
from tiny_run import Tiny

from actionrec.engine import checkpoint
from actionrec.engine.run import run


def needs(*command):
    """Skip where the machine lacks `command` or does not allow it."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"no {command[0]} here")
    done = subprocess.run([*command, "true"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"{' '.join(command)}: {done.stderr.strip()}")


@pytest.fixture(scope="module")
def undisturbed(clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    run(settings_of(clips, folder), Tiny)
    return end_of(folder)


def on_small_disk(clips, tmp_path, kib):
    """The status of a run whose OUTPUT_DIR is a file system of `kib` KiB.

    It becomes tmp_path/left, for only the run's own processes see that disk.
    """
    out, left = tmp_path / "disk" / "out", tmp_path / "left"
    out.parent.mkdir()
    script = (
        'mount -t tmpfs -o "size=$1k" none "$2" || exit 99; left=$3; out=$2/out; shift 3; '
        '"$@"; status=$?; cp -a "$out" "$left"; exit $status'
    )
    bash = ("bash", "-c", script, "bash", str(kib), str(out.parent), str(left))
    python = ("unshare", "-rm", *bash, sys.executable)
    return start_program(clips, out, python=python).wait(60)


@pytest.mark.parametrize(("kib", "full"), [(48, "checkpoint_epoch_00004"), (32, "stdout.log")])
def test_G6_a_full_disk_is_warnings_until_the_last_save_and_a_restart_makes_up_for_it(
    clips, tmp_path, undisturbed, kib, full
):
    needs("unshare", "-rm")
    status, left = on_small_disk(clips, tmp_path, kib), tmp_path / "left"
    shown = console(tmp_path / "disk" / "out")
    assert status == 2 and "Traceback" not in shown, shown
    lines = shown.splitlines()
    assert sum("training goes on without it" in line for line in lines) >= 2
    assert [line for line in lines if full in line and "not " in line], shown
    (error,) = [line for line in lines if line.startswith("tiny_run: error: ")]
    assert "checkpoint_epoch_00006.pyth: not saved (No space left on device)" in error
    assert checkpoint.find_resume(left).torn == {}
    assert not list(left.glob("checkpoints/.*")) and not list(left.glob(".*.partial"))
    run(settings_of(clips, left), Tiny)  # where there is room
    end, expected = end_of(left), dict(undisturbed)
    if full == "stdout.log":  # metrics.csv lacks what it could not take either
        del end["metrics.csv"], expected["metrics.csv"]
    assert differences(end, expected) == []


@pytest.mark.parametrize(
    ("call", "error", "status"),
    [
        pytest.param("fsync", "EIO", 2, id="G2-fsync-EIO"),
        pytest.param("write", "ENOSPC", 0, id="G2-write-ENOSPC", marks=pytest.mark.slow),
        pytest.param("write", "EIO", 2, id="G2-write-EIO", marks=pytest.mark.slow),
        pytest.param("rename", "EIO", 2, id="G2-rename-EIO", marks=pytest.mark.slow),
        pytest.param("fsync", "ENOSPC", 0, id="G2-fsync-ENOSPC", marks=pytest.mark.slow),
        pytest.param("rename", "ENOSPC", 0, id="G2-rename-ENOSPC", marks=pytest.mark.slow),
    ],
)
def test_a_call_that_fails_in_one_save_costs_at_most_that_save(
    clips, tmp_path, undisturbed, call, error, status
):
    needs("strace", "-e", "trace=none")
    out = tmp_path / "out"
    begun = out / "checkpoints" / ".ckpt_epoch_00003.pyth.tmp"
    strace = (
        "strace",
        "--seccomp-bpf",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-P",
        str(begun),
        "-e",
        f"trace={call}",
    )
    python = (*strace, "-e", f"trace={call}", "-e", f"inject={call}:error={error}", sys.executable)
    program = start_program(clips, out, python=python)
    assert program.wait(100) == status, console(out)
    assert "Traceback" not in console(out)
    assert "checkpoint_epoch_00003.pyth: not saved (" in console(out)
    assert not checkpoint.checkpoint_path(out, 3).exists() and not begun.exists()
    assert checkpoint.checkpoint_path(out, 2).exists()
    assert ("training goes on without it" in log(out)) == (status == 0)
    run(settings_of(clips, out), Tiny)
    assert differences(end_of(out), undisturbed) == []

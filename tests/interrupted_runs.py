"""What tests of interrupted runs share: runs as processes, and all in which two runs may differ."""

from __future__ import annotations

import csv
import multiprocessing
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import tqdm
from tiny_run import Tiny, changed, make_settings

from actionrec.engine import checkpoint
from actionrec.engine.run import run
from actionrec.types import RunSettings

HERE = Path(__file__).resolve().parent
EPOCHS, STEPS = 6, 3  # of a tiny run; steps of an epoch
# Slow to learn, so that the best validation is neither the first nor always the last.
SLOW = ("solver.base_lr=0.05", "train.eval_period=1", "test.enable=false")
TIMES = ("seconds", "data_wait_share")  # columns of metrics.csv that no two runs share


def settings_of(clips: Path, output_dir: Path, *assignments: str) -> RunSettings:
    return changed(make_settings(clips, output_dir), *SLOW, *assignments)


def end_of(output_dir: Path, epoch: int = EPOCHS) -> dict[str, Any]:
    """Everything that a run leaves and that does not depend on the clock or on its folder."""
    state = checkpoint.load_checkpoint(checkpoint.checkpoint_path(output_dir, epoch))
    best = checkpoint.load_checkpoint(checkpoint.best_path(output_dir))
    names = ["model_state", "optimizer_state", "loss_state", "scaler_state", "best_map", "history"]
    kept = {f"{kind} {n}": s[n] for kind, s in (("last", state), ("best", best)) for n in names}
    with (output_dir / "metrics.csv").open() as file:
        rows = [{k: v for k, v in row.items() if k not in TIMES} for row in csv.DictReader(file)]
    return {
        **kept,
        "best epoch": best["epoch"],
        "skipped": state["skipped_steps"],
        "metrics.csv": rows,
    }


def differences(one: Any, other: Any, where: str = "") -> list[str]:
    """The places at which two states are not equal to the last bit."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys(), key=str)
        return [d for k in keys for d in differences(one.get(k), other.get(k), f"{where}/{k}")]
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return [] if one.dtype == other.dtype and torch.equal(one, other) else [where]
    if isinstance(one, list | tuple) and isinstance(other, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{where}/{i}")]
    return [] if one == other else [f"{where}: {one!r} and {other!r}"]


def fork(work: Callable[[], object], log: Path) -> int:
    """The id of a process that does `work`, with its output in `log`; 0 is its status if it can."""
    child = os.fork()
    if child:
        return child
    try:
        with log.open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        # All forks of an interpreter share tqdm's lock; one that was killed may hold it for ever.
        tqdm.tqdm.set_lock(multiprocessing.RLock())
        work()
        os._exit(0)
    except BaseException:
        with log.open("a") as file:
            traceback.print_exc(file=file)
    finally:
        os._exit(1)


def fork_run(settings: RunSettings) -> int:
    """A run in a fork of this interpreter, which has all imports behind it."""
    return fork(lambda: run(settings, Tiny), settings.output_dir.with_suffix(".console"))


def status(child: int) -> int:
    """Wait for a process of `fork`, and return its status."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def start_program(
    clips: Path, output_dir: Path, *assignments: str, python: tuple[str, ...] = (sys.executable,)
) -> subprocess.Popen[bytes]:
    """A tiny run in a new interpreter."""
    paths = [str(HERE.parent), str(HERE.parent / "code_new"), str(HERE)]
    command = [*python, HERE / "tiny_run.py", clips, output_dir, *SLOW, *assignments]
    return start_command(command, output_dir, HERE, {"PYTHONPATH": os.pathsep.join(paths)})


def start_command(
    command: list[str | Path], output_dir: Path, cwd: Path, env: dict[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """A command as a group of processes of its own; what it prints is for `console`."""
    inherited = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    with output_dir.with_suffix(".console").open("ab") as console:
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env={**inherited, "OMP_NUM_THREADS": "1", **(env or {})},
            stdout=console,
            stderr=console,
            start_new_session=True,
        )


def console(output_dir: Path) -> str:
    """What all runs of the folder printed that were started here."""
    return output_dir.with_suffix(".console").read_text()


def log(output_dir: Path) -> str:
    path = output_dir / "stdout.log"
    return path.read_text() if path.exists() else ""

"""The runs of a sweep: what is started, what is left out, what fails, and what Ctrl-C leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from actionrec.engine.scores_file import FILE_NAME, Scores, save_scores
from actionrec.errors import Incomplete
from actionrec.sweep.runs import LOG_NAME, Run, RunQueue

# In the place of run_net.py: python STUB FOLDER WHAT. It leaves the scores that were put there for
# it, unless WHAT is fail or wait; the file `starts` has a line a start.
STUB = """
import os, pathlib, signal, sys, time
folder, what = pathlib.Path(sys.argv[1]), sys.argv[2]
with open(folder / "starts", "a") as file:
    print(os.environ.get("OMP_NUM_THREADS"), file=file)
if what == "fail":
    sys.exit("run_net: error: the data are bad")
if what == "wait":
    def saved(*_):
        (folder / "saved").touch()
        sys.exit(143)
    signal.signal(signal.SIGTERM, saved)
    (folder / "ready").touch()
    time.sleep(60)
time.sleep(float(what))
(folder / "to_leave.npz").rename(folder / "scores.npz")
"""
HASHES = {"config": "c", "train.csv": "t"}


def some_scores(hashes=HASHES):
    about = {"hashes": hashes}
    return Scores(("A",), ("x",), np.ones((1, 1)), np.ones((1, 1)), None, about)


def make_run(folder: Path, seed: int, what: str = "0") -> Run:
    place = folder / f"seed_{seed}"
    place.mkdir(parents=True, exist_ok=True)
    (folder / "stub.py").write_text(STUB)
    save_scores(place / "to_leave.npz", some_scores())
    command = (sys.executable, str(folder / "stub.py"), str(place), what)
    return Run("demo", "ASL", seed, place, HASHES, command)


def starts(run: Run) -> int:
    file = run.folder / "starts"
    return len(file.read_text().splitlines()) if file.exists() else 0


def test_every_run_is_started_once_and_a_finished_one_not_again(tmp_path, capsys):
    runs = [make_run(tmp_path, seed) for seed in range(3)]
    assert RunQueue(runs, jobs=1).work() == []
    said = capsys.readouterr().out
    assert "demo/ASL/seed_2: done; 3/3 runs" in said and "0 s left" in said
    assert RunQueue(runs, jobs=1).work() == []
    assert "3 of 3 runs are finished" in capsys.readouterr().out
    assert [starts(run) for run in runs] == [1, 1, 1]


@pytest.mark.parametrize("left", ["other configuration", "damaged"])
def test_scores_of_something_else_count_for_nothing(tmp_path, left):
    run = make_run(tmp_path, 0)
    if left == "damaged":
        (run.folder / FILE_NAME).write_bytes(b"PK")
    else:
        save_scores(run.folder / FILE_NAME, some_scores({**HASHES, "config": "another"}))
    assert run.scores() is None
    assert RunQueue([run], jobs=1).work() == []
    assert starts(run) == 1 and run.scores() is not None


def test_a_failed_run_is_named_with_its_last_line_and_the_others_go_on(tmp_path, capsys):
    runs = [make_run(tmp_path, 0, "fail"), make_run(tmp_path, 1)]
    assert RunQueue(runs, jobs=1).work() == ["demo/ASL/seed_0"]
    said = capsys.readouterr().out
    assert "demo/ASL/seed_0: FAILED (exit 1): run_net: error: the data are bad; 1/2" in said
    assert "demo/ASL/seed_1: done; 2/2" in said
    assert (runs[0].folder / LOG_NAME).read_text() == "run_net: error: the data are bad\n"
    # The same sweep tries it again, and it alone.
    again = [make_run(tmp_path, 0), runs[1]]
    assert RunQueue(again, jobs=1).work() == []
    assert [starts(run) for run in again] == [2, 1]


def test_several_at_a_time_share_the_cores(tmp_path, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    runs = [make_run(tmp_path, seed, "0.6") for seed in range(4)]
    started = time.monotonic()
    assert RunQueue(runs, jobs=4).work() == []
    assert time.monotonic() - started < 4 * 0.6
    cores = len(os.sched_getaffinity(0))
    assert (runs[0].folder / "starts").read_text() == f"{max(cores // 4, 1)}\n"


SWEEP = """
import sys
sys.path[:0] = {path!r}
from actionrec import front_door
from actionrec.errors import Incomplete
from actionrec.sweep.runs import RunQueue
from test_sweep_runs import make_run
import pathlib
runs = [make_run(pathlib.Path({folder!r}), 0, "wait"), make_run(pathlib.Path({folder!r}), 1)]
sys.exit(front_door.answer("sweep", lambda: len(RunQueue(runs, 1).work()), "it goes on"))
"""


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_lets_the_run_at_work_save_and_starts_no_other(tmp_path, number, status):
    path = [p for p in sys.path if p] + [str(Path(__file__).parent)]
    code = SWEEP.format(path=path, folder=str(tmp_path))
    with subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True) as sweep:
        until = time.monotonic() + 60
        while not (tmp_path / "seed_0" / "ready").exists() and time.monotonic() < until:
            time.sleep(0.05)
        sweep.send_signal(number)
        _, said = sweep.communicate(timeout=60)
    assert sweep.returncode == status, said
    assert (tmp_path / "seed_0" / "saved").exists()
    assert not (tmp_path / "seed_1" / "starts").exists()
    assert "Traceback" not in said


def test_the_command_of_a_run_is_that_of_run_net(tree, tmp_path, monkeypatch):
    from actionrec.sweep.sweep_file import parse_sweep
    from slowfast.ak.sweep import plan

    monkeypatch.chdir(tree)
    (tmp_path / "annot").mkdir()
    content = {
        "models": {"demo": "configs/AK/DEMO.yaml"},
        "losses": {"bce_loss": None, "g1": {"loss": "focal_loss", "gamma": 1.5}},
        "seeds": [3, 4],
        "output": "results/x",
        "overrides": {"SOLVER.MAX_EPOCH": 7, "DATA.PATH_TO_DATA_DIR": str(tmp_path / "annot")},
    }
    planned = plan(parse_sweep(content, Path("s.yaml")), Path("out"), Path("tools/run_net.py"))
    assert [each.run.name for each in planned] == [
        f"demo/{loss}/seed_{seed}" for loss in ("bce_loss", "g1") for seed in (3, 4)
    ]
    _, settings, _ = last = planned[-1]
    words = " ".join(last.run.command[1:])
    assert words == (
        "tools/run_net.py --cfg configs/AK/DEMO.yaml SOLVER.MAX_EPOCH 7 "
        f"DATA.PATH_TO_DATA_DIR {tmp_path / 'annot'} MODEL.LOSS_FUNC focal_loss "
        "LOSS.PARAMS.gamma 1.5 RNG_SEED 4 TEST.SAVE_RESULTS_PATH results.pkl "
        "OUTPUT_DIR out/demo/g1/seed_4"
    )
    assert (settings.solver.max_epoch, settings.seed, settings.loss.name) == (7, 4, "focal_loss")
    assert len({each.run.hashes["config"] for each in planned}) == 4


RUN_NET = """
import pathlib, shutil, sys
here = pathlib.Path(sys.argv[0]).parent
folder = pathlib.Path(sys.argv[sys.argv.index("OUTPUT_DIR") + 1])
ready = here / "ready" / folder.relative_to(here)
if not ready.exists():
    sys.exit("run_net: error: no such file: x.jpg")
shutil.copy(ready / "scores.npz", folder)
"""


def test_the_whole_sweep_ends_in_a_table_of_what_there_is(
    tree, clips, tmp_path, monkeypatch, capsys
):
    from slowfast.ak import sweep

    monkeypatch.chdir(tree)
    (tmp_path / "run_net.py").write_text(RUN_NET)
    content = {
        "models": {"demo": "configs/AK/DEMO.yaml"},
        "losses": ["bce_loss", "ASL"],
        "seeds": [0, 1],
        "output": str(tmp_path / "out"),
        "overrides": {
            "DATA.PATH_TO_DATA_DIR": str(clips / "annot"),
            "DATA.PATH_PREFIX": str(clips / "image"),
            "MODEL.NUM_CLASSES": 3,
        },
    }
    (tmp_path / "sweep.yaml").write_text(json.dumps(content))
    arguments = {"with_features": False, "jobs": 1, "script": tmp_path / "run_net.py"}

    def start(dry_run=False):
        return sweep.main(tmp_path / "sweep.yaml", dry_run=dry_run, **arguments)

    planned = sweep.plan(
        sweep.read_sweep(tmp_path / "sweep.yaml"), tmp_path / "out", tmp_path / "run_net.py"
    )
    rng = np.random.default_rng(0)
    targets = (rng.random((9, 3)) < 0.5).astype(np.uint8)

    def make_ready(run):
        place = tmp_path / "ready" / run.folder.relative_to(tmp_path)
        place.mkdir(parents=True)
        ids = tuple(f"VAL{clip:02d}" for clip in range(9))
        about = {"hashes": run.hashes}
        scores = Scores(ids, ("a", "b", "c"), rng.random((9, 3)), targets, None, about)
        save_scores(place / FILE_NAME, scores)

    for each in planned[:3]:
        make_ready(each.run)
    with pytest.raises(
        Incomplete, match="3 of 4 runs are done; failed: demo/ASL/seed_1;"
    ) as caught:
        start()
    assert caught.value.exit_code == 3
    said = capsys.readouterr().out
    assert "demo/ASL/seed_1: FAILED (exit 1): run_net: error: no such file: x.jpg" in said
    assert "| bce_loss (baseline) | 2 " in " ".join(said.split())
    assert "9 test clips, 3 of 3 classes measurable" in said
    make_ready(planned[3].run)
    assert start(dry_run=True) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[:3] == [f"{each.run.name} is finished" for each in planned[:3]]
    assert "OUTPUT_DIR" in said[3] and len(said) == 4
    assert start() == 0
    assert "demo/ASL/seed_1: done; 1/1 runs" in capsys.readouterr().out
    assert (tmp_path / "out" / "results.csv").read_text().count("\n") == 1 + 2 * 4 + 4

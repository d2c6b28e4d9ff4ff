"""Several processes of a run: functions in them, or the tiny run as a user starts it."""

from __future__ import annotations

import json
import multiprocessing
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node"]
TINY_RUN = str(REPO / "tests" / "tiny_run.py")


def free_port():
    with socket.socket() as probe:
        probe.bind(("localhost", 0))
        return probe.getsockname()[1]


def in_processes(count, work, *arguments):
    """What `work(*arguments)` returns in each of `count` processes that have met, by rank.

    work: a function of a test module. It may find out its rank by `actionrec.launched`.
    """
    context = multiprocessing.get_context("forkserver")
    # Imported once for all; torch's wrapper of several processes brings torch._dynamo along.
    context.set_forkserver_preload(["pytest", "torch._dynamo", "tiny_run", "actionrec.engine.run"])
    port, ends, started = free_port(), [], []
    for rank in range(count):
        here, there = context.Pipe()
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
        place |= {"MASTER_ADDR": "localhost", "MASTER_PORT": port}
        process = context.Process(target=_work, args=(there, place, work, arguments), daemon=True)
        process.start()
        there.close()
        ends.append(here)
        started.append(process)
    try:
        answers = [pickle.loads(end.recv_bytes()) if end.poll(60) else None for end in ends]
    finally:
        for process in started:
            process.kill()
            process.join()
    failed = [answer for answer in answers if answer is None or answer[0]]
    assert not failed, failed
    return [result for _, result in answers]


def _work(end, place, work, arguments):
    os.environ |= {name: str(value) for name, value in place.items()}
    import torch

    from actionrec.engine import distributed

    torch.set_num_threads(1)
    try:
        distributed.start("cpu", "gloo", 50)
        answer = ("", work(*arguments))
        distributed.wait_for_all()
    except BaseException as error:
        answer = (repr(error), None)
    end.send_bytes(pickle.dumps(answer))


class Program:
    """A program that was started, whose output goes to files: workers may outlive it."""

    def __init__(self, command, folder, cwd=None, **env):
        folder.mkdir(parents=True, exist_ok=True)
        self._files = [folder / f"{os.urandom(4).hex()}.{name}" for name in ("out", "err")]
        path = os.pathsep.join(map(str, (REPO, REPO / "code_new", REPO / "tests")))
        outside = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        env = outside | {"OMP_NUM_THREADS": "1"} | ({} if cwd else {"PYTHONPATH": path}) | env
        with self._files[0].open("w") as out, self._files[1].open("w") as err:
            self.process = subprocess.Popen(
                [*map(str, command)], stdout=out, stderr=err, env=env, cwd=cwd
            )

    def wait(self, timeout_sec=60):
        """The exit status, when the program and all that it started are gone."""
        deadline = time.monotonic() + timeout_sec
        family = self.processes()
        try:
            status = self.process.wait(timeout_sec)
            while any(map(_is_alive, family)) and time.monotonic() < deadline:
                time.sleep(0.05)
            assert not any(map(_is_alive, family)), f"left behind: {family}"
        finally:
            for pid in filter(_is_alive, family):
                os.kill(pid, signal.SIGKILL)
            self.process.kill()
        return status

    def processes(self):
        """The ranks' numbers of process, by rank, and then all others of the program."""
        family, found = [self.process.pid], {}
        for pid in family:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            family += map(int, children.read_text().split() if children.exists() else [])
            rank = _environment(pid).get("RANK")
            if rank is not None:
                found.setdefault(int(rank), pid)  # its own workers come after it
        ranks = [found[rank] for rank in sorted(found)]
        return [*ranks, *(pid for pid in family if pid not in ranks)]

    def send(self, number, rank=None):
        """Signal one of the ranks, the launcher, or `all` of them, as Slurm does."""
        if rank is None:
            self.process.send_signal(number)
            return
        family = self.processes()
        for pid in family if rank == "all" else [family[rank]]:
            os.kill(pid, number)

    def output(self):
        return self._files[0].read_text()

    def errors(self, ours="tiny_run: "):
        """The lines on stderr that our own front door wrote."""
        return [line for line in self.all_errors().splitlines() if line.startswith(ours)]

    def all_errors(self):
        return self._files[1].read_text()


def torchrun(clips, out, *assignments, processes=2, **env):
    """The tiny run as `torchrun` starts it."""
    return Program(
        [*TORCHRUN, processes, TINY_RUN, clips, out, *assignments], out.with_suffix(".said"), **env
    )


def launched(clips, out, *assignments, folder=None, env=None, **options):
    """The tiny run as our own launcher starts it: see actionrec.engine.launch."""
    command = [sys.executable, TINY_RUN, "--launch", json.dumps({"processes": 2, **options})]
    said = folder or out.with_suffix(".said")
    return Program([*command, clips, out, *assignments], said, **(env or {}))


def steps_done(out):
    """How many optimizer steps the log of a run tells of."""
    log = out / "stdout.log"
    return log.read_text().count('"train_iter"') if log.exists() else 0


def wait_for_steps(program, out, number, timeout_sec=60):
    """Return when `number` more steps are done; True unless the run ended before."""
    before, deadline = steps_done(out), time.monotonic() + timeout_sec
    while steps_done(out) < before + number and program.process.poll() is None:
        assert time.monotonic() < deadline, program.all_errors()
        time.sleep(0.005)
    return program.process.poll() is None


def _environment(pid):
    try:
        content = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return {}
    return dict(entry.partition("=")[::2] for entry in content.split("\0") if entry)


def _is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False

"""NUM_GPUS above 1, or several machines: the run is started again by torch's own launcher."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import uuid
from collections.abc import Sequence
from urllib.parse import urlsplit

from actionrec.errors import UserError


def launch(
    command: Sequence[str],
    *,
    processes: int,
    machines: int = 1,
    machine: int = 0,
    meeting_point: str = "",
    timeout_sec: int = 1800,
) -> int:
    """Run the Python `command` in `processes` processes here; returns the exit status of the run.

    machines: how many take part, each starting this with its own number `machine`; meeting_point:
    `tcp://host:port` of machine 0. As `torchrun --nnodes --node-rank --nproc-per-node` does. Raises
    UserError where a process was killed, or the machines do not meet.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    # Its warnings tell at length what the processes say themselves in a line.
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", _threads(processes))
    alone = machines == 1
    config = LaunchConfig(
        min_nodes=machines,
        max_nodes=machines,
        nproc_per_node=processes,
        run_id=uuid.uuid4().hex if alone else "actionrec",
        rdzv_backend="c10d" if alone else "static",
        rdzv_endpoint="localhost:0" if alone else _endpoint(meeting_point),
        rdzv_configs={"timeout": timeout_sec} | ({} if alone else {"rank": machine}),
        max_restarts=0,
        monitor_interval=0.5,
        signals_to_handle="SIGTERM,SIGINT,SIGHUP,SIGQUIT,SIGUSR1",
    )
    try:
        elastic_launch(config, sys.executable)(*command)
    except ChildFailedError as failed:
        rank, first = failed.get_first_failure()
        if first.exitcode >= 0:
            return int(first.exitcode)  # it has said why
        name = signal.Signals(-first.exitcode).name
        raise UserError(
            f"process {rank} of {processes * machines} was ended by {name}"
            f"{', often for want of memory' if name == 'SIGKILL' else ''}, and the others with it; "
            "the same command goes on from the last checkpoint"
        ) from None
    except SignalException as ended:
        # The processes were sent the same signal, and have saved.
        return 75 if ended.sigval == signal.SIGUSR1 else 128 + int(ended.sigval)
    except (RuntimeError, OSError, TimeoutError) as error:
        raise UserError(
            f"the {machines} machines did not meet at {meeting_point or 'localhost'} "
            f"({str(error).splitlines()[0]}); see that its port is free and open, or choose "
            "another by --init_method tcp://HOST:PORT"
        ) from error
    return 0


def _threads(processes: int) -> str:
    """Cores are shared: with a thread a core in each process they would wait for one another."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return str(max((cores or 1) // processes, 1))


def _endpoint(meeting_point: str) -> str:
    parts = urlsplit(meeting_point)
    with contextlib.suppress(ValueError):
        if parts.scheme == "tcp" and parts.hostname and parts.port:
            return f"{parts.hostname}:{parts.port}"
    raise UserError(
        f"--init_method: {meeting_point!r} is not tcp://HOST:PORT of the first machine, where all "
        "machines meet"
    )

"""NUM_GPUS above 1, or several machines: the run is started again by torch's own launcher."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from actionrec import launched
from actionrec.errors import UserError
from actionrec.stop_signals import EXIT_CODES


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
    from torch.distributed.launcher.api import LaunchConfig

    # Its warnings tell at length what the processes say themselves in a line; each has a level.
    for name in list(logging.root.manager.loggerDict):
        if name.startswith("torch.distributed.elastic"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_NUM_THREADS", launched.threads_of_each(processes))
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
    with tempfile.TemporaryDirectory() as folder:
        status_file = Path(folder, "status")
        os.environ[launched.EXIT_STATUS_FILE] = str(status_file)
        return _run(config, command, status_file, processes * machines, meeting_point)


def _run(
    config: Any, command: Sequence[str], status_file: Path, processes: int, meeting_point: str
) -> int:
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    try:
        elastic_launch(config, sys.executable)(*command)
    except ChildFailedError as failed:
        rank, first = failed.get_first_failure()
        if first.exitcode >= 0:
            return int(first.exitcode)  # it has said why
        name = signal.Signals(-first.exitcode).name
        raise UserError(
            f"process {rank} of {processes} was ended by {name}"
            f"{', often for want of memory' if name == 'SIGKILL' else ''}, and the others with it; "
            "the same command goes on from the last checkpoint"
        ) from None
    except SignalException as ended:
        # The processes were sent the signal too: only their main one knows whether it has saved.
        status = int(status_file.read_text()) if status_file.is_file() else 1
        saved = status in EXIT_CODES.values()
        return EXIT_CODES.get(ended.sigval, 128 + int(ended.sigval)) if saved else status
    except (RuntimeError, OSError, TimeoutError) as error:
        raise UserError(
            f"the machines did not meet at {meeting_point or 'localhost'} "
            f"({str(error).splitlines()[0]}); see that its port is free and open, or choose "
            "another by --init_method tcp://HOST:PORT"
        ) from error
    return 0


def _endpoint(meeting_point: str) -> str:
    parts = urlsplit(meeting_point)
    with contextlib.suppress(ValueError):
        if parts.scheme == "tcp" and parts.hostname and parts.port:
            return f"{parts.hostname}:{parts.port}"
    raise UserError(
        f"--init_method: {meeting_point!r} is not tcp://HOST:PORT of the first machine, where all "
        "machines meet"
    )

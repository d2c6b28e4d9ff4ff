"""Scalars of a run for TensorBoard and Weights & Biases, neither of which ever ends a run."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from actionrec.engine.wandb_run import WandbRun

logger = logging.getLogger(__name__)

_number = itertools.count()  # of the event files of this process, whose names must differ


class Writer(Protocol):
    """Where scalars can go."""

    def write(self, name: str, value: float, step: int) -> None: ...

    def close(self) -> None: ...


class ScalarWriter:
    """`write("Val/mAP", 0.31, step=5)` to every writer: none without a folder and a project.

    folder: for event files of TensorBoard. wandb_project: of Weights & Biases; its run has the name
    of `output_dir`, lies in it, and shows `config_yaml`. A writer that fails is left out from there
    on, with a warning.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        wandb_project: str = "",
        output_dir: Path = Path(),
        config_yaml: str = "",
    ) -> None:
        self._writers: dict[str, Writer] = {}
        if folder is not None:
            self._open("TensorBoard", EventFile, folder)
        if wandb_project:
            self._open("Weights & Biases", WandbRun, wandb_project, output_dir, config_yaml)

    def write(self, name: str, value: float, step: int) -> None:
        for title, writer in list(self._writers.items()):
            self._try(title, writer.write, name, value, step)

    def close(self) -> None:
        for title, writer in list(self._writers.items()):
            self._try(title, writer.close)
        self._writers.clear()

    def _open(self, title: str, kind: Callable[..., Writer], *args: Any) -> None:
        writer = self._try(title, kind, *args)
        if writer is not None:
            self._writers[title] = writer

    def _try(self, title: str, work: Callable[..., Any], *args: Any) -> Any:
        try:
            return work(*args)
        # A full disk, a network, a package of others: whatever it is, the training matters more.
        except Exception as error:
            logger.warning("%s is off from here on: %s: %s", title, type(error).__name__, error)
            self._writers.pop(title, None)
            return None


class EventFile:
    """A file that TensorBoard reads, below `folder`; as SummaryWriter's, but without its thread.

    So a full disk is an OSError of the call that met it, not one that comes up later, elsewhere.
    """

    def __init__(self, folder: Path) -> None:
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        folder.mkdir(parents=True, exist_ok=True)
        name = f"{time.time():.0f}.{socket.gethostname()}.{os.getpid()}.{next(_number)}"
        self._file = (folder / f"events.out.tfevents.{name}").open("xb")
        self._records = RecordWriter(self._file)
        self._add(file_version="brain.Event:2")

    def write(self, name: str, value: float, step: int) -> None:
        scalar = self._summary.Value(tag=name, simple_value=value)
        self._add(step=step, summary=self._summary(value=[scalar]))

    def close(self) -> None:
        self._file.close()

    def _add(self, **fields: Any) -> None:
        event = self._event(wall_time=time.time(), **fields)
        self._records.write(event.SerializeToString())
        self._file.flush()

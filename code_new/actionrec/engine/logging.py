"""The log of a run, on the console and in `stdout.log`, in SlowFast's format.

    [11/21 11:15:17][INFO] train.py:  97: message

Scripts of SlowFast's users find `json_stats: {...}` in these lines, so keys and number formats are
SlowFast's.
"""

from __future__ import annotations

import datetime
import json
import logging
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tqdm

from actionrec import launched
from actionrec.errors import UserError
from actionrec.terminal import RED, YELLOW, coloured

LOG_NAME = "stdout.log"

logger = logging.getLogger(__name__)


def setup_logging(output_dir: Path | None = None) -> None:
    """Send records from INFO on to the console and, appended, to `output_dir`/stdout.log.

    Makes the folder. A second call replaces the handlers of the first. Of the processes of a run
    the main one alone logs. Raises UserError where it cannot write.
    """
    root = logging.getLogger()
    for handler in [h for h in root.handlers if isinstance(h.formatter, _LineFormatter)]:
        root.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = [logging.NullHandler()]
    if launched.is_main():
        handlers = [_ConsoleHandler(sys.stdout)]
    if launched.is_main() and output_dir is not None:
        handlers.append(_open_log(Path(output_dir)))
    for handler in handlers:
        handler.setFormatter(_LineFormatter())
        root.addHandler(handler)
    root.setLevel(logging.INFO)


def log_to_file(level: int, message: str) -> None:
    """Write a record to the open log files, not to the console."""
    record = logger.makeRecord(logger.name, level, __file__, 0, message, (), None)
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.FileHandler):
            handler.handle(record)


def printable(text: str) -> str:
    r"""`text` with line breaks and control characters written out, as in `\n` and `\x1b`.

    For ids and paths in messages: whoever names a clip could otherwise forge lines of the log or
    steer the reader's terminal.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def log_json_stats(stats: dict[str, Any]) -> None:
    """Log one `json_stats: {...}` line of strict JSON: keys sorted, floats with 5 decimals.

    NaN and infinity, which JSON lacks, become null.
    """
    logger.info("json_stats: %s", _to_json(stats))


def train_iter_stats(
    *,
    epoch: int,
    max_epoch: int,
    iteration: int,
    num_iterations: int,
    dt: float,
    dt_data: float,
    eta_sec: float,
    loss: float,
    lr: float,
) -> dict[str, Any]:
    """One training step of `dt` seconds, `dt_data` of them waiting; the counts start from 0."""
    return {
        "_type": "train_iter",
        "epoch": f"{epoch + 1}/{max_epoch}",
        "iter": f"{iteration + 1}/{num_iterations}",
        "dt": dt,
        "dt_data": dt_data,
        "dt_net": dt - dt_data,
        "eta": _duration(eta_sec),
        "loss": loss,
        "lr": lr,
        "gpu_mem": _gpu_memory(),
    }


def train_epoch_stats(
    *, epoch: int, max_epoch: int, dt: float, eta_sec: float, loss: float, lr: float
) -> dict[str, Any]:
    """The end of a training epoch. dt: its seconds, loss: mean over its steps."""
    return {
        "_type": "train_epoch",
        "epoch": f"{epoch + 1}/{max_epoch}",
        "dt": dt,
        "eta": _duration(eta_sec),
        "loss": loss,
        "lr": lr,
        "gpu_mem": _gpu_memory(),
        "RAM": _memory(),
    }


def val_iter_stats(
    *,
    epoch: int,
    max_epoch: int,
    iteration: int,
    num_iterations: int,
    time_diff: float,
    eta_sec: float,
) -> dict[str, Any]:
    """One validation batch; time_diff: its seconds."""
    return {
        "_type": "val_iter",
        "epoch": f"{epoch + 1}/{max_epoch}",
        "iter": f"{iteration + 1}/{num_iterations}",
        "time_diff": time_diff,
        "eta": _duration(eta_sec),
        "gpu_mem": _gpu_memory(),
    }


def val_epoch_stats(
    *, epoch: int, max_epoch: int, time_diff: float, mean_ap: float, **more: float
) -> dict[str, Any]:
    """The end of a validation; mean_ap in [0, 1], as SlowFast logs it; `more`: keys of ours."""
    return {
        "_type": "val_epoch",
        "epoch": f"{epoch + 1}/{max_epoch}",
        "time_diff": time_diff,
        "map": mean_ap,
        **more,
        "gpu_mem": _gpu_memory(),
        "RAM": _memory(),
    }


def test_iter_stats(*, iteration: int, time_diff: float, eta_sec: float) -> dict[str, Any]:
    """One batch of the multi-view test; SlowFast marks the test by `split`, not by `_type`."""
    return {
        "split": "test_iter",
        "cur_iter": str(iteration + 1),
        "eta": _duration(eta_sec),
        "time_diff": time_diff,
    }


class _LineFormatter(logging.Formatter):
    """SlowFast's format. Only the first line of a record looks like one; controls are escaped."""

    def __init__(self) -> None:
        super().__init__(
            "[%(asctime)s][%(levelname)s] %(filename)s: %(lineno)3d: %(message)s",
            datefmt="%m/%d %H:%M:%S",
        )

    def format(self, record: logging.LogRecord) -> str:
        return "\n    ".join(printable(line) for line in super().format(record).split("\n"))


class _ConsoleHandler(logging.StreamHandler[Any]):
    """A handler that takes a progress bar away while it writes; warnings and errors in colour."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.levelno < logging.WARNING:
            return text
        return coloured(text, RED if record.levelno >= logging.ERROR else YELLOW, self.stream)

    def emit(self, record: logging.LogRecord) -> None:
        with tqdm.tqdm.external_write_mode(file=self.stream):
            super().emit(record)


class _LogFile(logging.FileHandler):
    """A file that a full disk makes incomplete, with one warning; Python would trace each line."""

    has_failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - Python's name
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self.has_failed:
            self.has_failed = True
            logger.warning(
                "%s: not written (%s); from here on it lacks lines that the console has",
                self.baseFilename,
                error.strerror,
            )


def _open_log(output_dir: Path) -> logging.Handler:
    try:
        output_dir.mkdir(parents=True, exist_ok=True)
        return _LogFile(output_dir / LOG_NAME, encoding="utf-8")
    except OSError as error:
        raise UserError(
            f"OUTPUT_DIR: cannot write {LOG_NAME} in '{output_dir}' ({error.strerror}); choose a "
            "folder of yours"
        ) from error


def _to_json(value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return f"{value:.5f}" if math.isfinite(value) else "null"
    if isinstance(value, dict):
        pairs = sorted((str(key), inner) for key, inner in value.items())
        return (
            "{" + ", ".join(f"{json.dumps(key)}: {_to_json(inner)}" for key, inner in pairs) + "}"
        )
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_to_json(inner) for inner in value) + "]"
    return json.dumps(value)


def _duration(seconds: float) -> str:
    return str(datetime.timedelta(seconds=int(seconds))) if math.isfinite(seconds) else "unknown"


def _gpu_memory() -> str:
    import torch

    used = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0
    return f"{used / 1024**3:.2f}G"


def _memory() -> str:
    import psutil

    memory = psutil.virtual_memory()
    return f"{(memory.total - memory.available) / 1024**3:.2f}/{memory.total / 1024**3:.2f}G"

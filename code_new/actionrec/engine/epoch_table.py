"""metrics.csv: a line for each epoch of a run, for a spreadsheet or a plot."""

from __future__ import annotations

import csv
import io
import logging
import time
from pathlib import Path

from actionrec.atomic_file import atomic_file
from actionrec.errors import UserError

TABLE_NAME = "metrics.csv"
COLUMNS = (
    "epoch",  # from 1
    "train_loss",  # mean over the steps
    "lr",  # of the last step
    "seconds",
    "data_wait_share",  # of those seconds, 0..1: how long the steps waited for their clips
    "clips_skipped",  # bad ones
    "nonfinite_steps",  # left out, see TRAIN.SKIP_NONFINITE
    "loss_phase",  # as LDAM names it: whether the reweighting has begun
    "val_map",  # this and the next three in 0..1; empty where the epoch was not validated
    "val_map_head",
    "val_map_middle",
    "val_map_tail",
)
_MAX_BYTES = 10_000_000  # of a table to go on with: 100,000 epochs

logger = logging.getLogger(__name__)


class EpochTable:
    """The table at `path`, rewritten whole with each change. What goes wrong is only a warning.

    path: None writes nothing, as in all processes of a run but the main one.

    The lines stay in memory: what a full disk kept back is written with the next epoch.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows: dict[int, dict[str, str]] = {}

    def resume(self, epochs_trained: int) -> None:
        """Keep the lines of the first `epochs_trained` epochs of the file that is there.

        One that is not such a table, or of which no epoch is kept, is renamed and stays.
        """
        if self._path is None or not self._path.exists():
            return
        try:
            rows = _read(self._path)
        except (OSError, UserError) as error:
            logger.warning("%s", error)
            rows = {}
        self._rows = {epoch: row for epoch, row in rows.items() if epoch <= epochs_trained}
        if not self._rows:
            _set_aside(self._path)

    def put(self, epoch: int, **values: str | float | None) -> None:
        """Set columns of the line of `epoch`, from 1; None leaves a column as it is."""
        if unknown := values.keys() - set(COLUMNS):
            raise KeyError(f"no columns of {TABLE_NAME}: {', '.join(sorted(unknown))}")
        row = self._rows.setdefault(epoch, {"epoch": str(epoch)})
        row |= {name: _cell(value) for name, value in values.items() if value is not None}
        if self._path is None:
            return
        try:
            with atomic_file(self._path) as file:
                text = io.TextIOWrapper(file, encoding="utf-8", newline="")
                table = csv.DictWriter(text, COLUMNS, restval="", lineterminator="\n")
                table.writeheader()
                table.writerows(self._rows[number] for number in sorted(self._rows))
                text.detach()  # flushes, and leaves the file open
        except OSError as error:
            logger.warning("%s: not written (%s)", self._path, error.strerror)


def _set_aside(path: Path) -> None:
    aside = path.with_name(f"metrics_{time.strftime('%Y%m%d_%H%M%S')}.csv")
    try:
        path.rename(aside)
    except OSError as error:
        logger.warning("%s: cannot be renamed (%s)", path, error.strerror)
    else:
        logger.info("%s of an earlier run is now %s", TABLE_NAME, aside)


def _cell(value: str | float) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _read(path: Path) -> dict[int, dict[str, str]]:
    """The lines by epoch. Raises UserError for a file that this module did not write."""
    if not path.is_file() or path.stat().st_size > _MAX_BYTES:
        raise UserError(f"{path}: is no table of epochs; a new one is begun")
    try:
        header, *lines = csv.reader(io.StringIO(path.read_text(encoding="utf-8"), newline=""))
        rows = {int(line[0]): dict(zip(COLUMNS, line, strict=True)) for line in lines}
        damaged = header != list(COLUMNS) or list(rows) != sorted(rows) or len(rows) < len(lines)
    except (ValueError, IndexError, csv.Error):
        damaged = True
    if damaged:
        raise UserError(f"{path}: is no table of epochs, or damaged; a new one is begun")
    return rows

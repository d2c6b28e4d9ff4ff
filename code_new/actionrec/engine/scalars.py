"""TensorBoard scalars; a full disk or a broken event file never ends a training run."""

from __future__ import annotations

import logging
from pathlib import Path

logger = logging.getLogger(__name__)


class ScalarWriter:
    """`write("Val/mAP", 0.31, step=5)` into an event file below `folder`; None writes nothing."""

    def __init__(self, folder: Path | None) -> None:
        self._writer = None
        if folder is not None:
            from torch.utils.tensorboard import SummaryWriter

            try:
                self._writer = SummaryWriter(str(folder))
            except OSError as error:
                logger.warning("TENSORBOARD.LOG_DIR: TensorBoard is off: %s", error)

    def write(self, name: str, value: float, step: int) -> None:
        if self._writer is None:
            return
        try:
            self._writer.add_scalar(name, value, step)
        except OSError as error:
            logger.warning("TensorBoard is off from here on: %s", error)
            self._writer = None

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()

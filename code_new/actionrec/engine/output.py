"""The folder of a run: made or refused before anything is built, never another run's."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path
from typing import Any

import yaml

from actionrec.errors import UserError

logger = logging.getLogger(__name__)

# What may change between the parts of one run: where it runs, how long, and what is looked at.
MAY_CHANGE = (
    "OUTPUT_DIR TEST. TENSORBOARD. DATA_LOADER. LOG_PERIOD LOG_MODEL_INFO NUM_GPUS METRICS. ENGINE "
    "TRAIN.AUTO_RESUME TRAIN.ENABLE TRAIN.CHECKPOINT_ TRAIN.EVAL_PERIOD DATA.ENSEMBLE_METHOD "
    "DATA.TEST_CROP_SIZE DATA.PATH_ DATA.VIDEO_PREFIX DATA.SOURCE SHARD_ID DIST_BACKEND"
).split()


def prepare_output(folder: Path) -> None:
    """Make the folder of a run. Raises UserError when it cannot be made or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".write-probe-{os.getpid()}"
        with probe.open("xb") as file:
            file.write(b"0" * 4096)
            file.flush()
            os.fsync(file.fileno())
        probe.unlink()
    except FileExistsError:
        raise UserError(f"OUTPUT_DIR: {folder} is a file, not a folder") from None
    except OSError as error:
        raise UserError(f"OUTPUT_DIR: {folder} cannot be written: {error.strerror}") from None


def _flat(content: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(content, dict):
        return {prefix.rstrip("."): content}
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.")
    return flat


def check_same_run(stored_yaml: str, current_yaml: str, path: Path) -> None:
    """Raises UserError when the checkpoint in this folder belongs to a run with other settings.

    Without it, the same command with another loss would resume the finished run and train nothing.
    """
    stored, current = _flat(yaml.safe_load(stored_yaml)), _flat(yaml.safe_load(current_yaml))
    changed = [
        f"{name} was {stored.get(name)!r} and is {current.get(name)!r}"
        for name in sorted(stored.keys() | current.keys())
        if stored.get(name) != current.get(name) and not name.startswith(tuple(MAY_CHANGE))
    ]
    if not changed:
        return
    if all(line.startswith("SOLVER.MAX_EPOCH ") for line in changed):
        logger.warning("%s; training goes on from %s", changed[0], path)
        return
    more = f" (and {len(changed) - 3} more)" if len(changed) > 3 else ""
    raise UserError(
        f"{path} is from a run with other settings: {'; '.join(changed[:3])}{more}; give this run "
        "an OUTPUT_DIR of its own, or set TRAIN.AUTO_RESUME False to start anew"
    )


def set_aside_checkpoints(folder: Path) -> None:
    """Move the checkpoints of an earlier run out of the way of a new one; nothing is deleted."""
    checkpoints = folder / "checkpoints"
    if checkpoints.is_dir() and any(checkpoints.iterdir()):
        aside = folder / f"earlier_{time.strftime('%Y%m%d_%H%M%S')}"
        checkpoints.rename(aside)
        logger.info("the checkpoints of an earlier run are now in %s", aside)

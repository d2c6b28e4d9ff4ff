"""The folder of a run: made or refused before anything is built, never another run's."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from actionrec.data.dev_split import dev_split_path
from actionrec.errors import UserError
from actionrec.types import DataSettings, RunSettings

logger = logging.getLogger(__name__)

# What may change between the parts of one run: where it runs, on which base, how long, and what is
# looked at.
MAY_CHANGE = tuple(
    (
        "OUTPUT_DIR TEST. TENSORBOARD. DATA_LOADER. LOG_PERIOD LOG_MODEL_INFO NUM_GPUS METRICS. "
        "ENGINE TRAIN.AUTO_RESUME TRAIN.ENABLE TRAIN.CHECKPOINT_ TRAIN.EVAL_PERIOD "
        "TRAIN.KEEP_CHECKPOINTS TRAIN.SKIP_NONFINITE DIST_ DATA.BAD_CLIPS DATA.MAX_BAD_FRACTION "
        "DATA.ENSEMBLE_METHOD DATA.TEST_CROP_SIZE DATA.PATH_ DATA.VIDEO_PREFIX DATA.SOURCE "
        "DATA.DEV_SPLIT "
        "TRAIN.EARLY_STOP_PATIENCE WANDB. "
        "SHARD_ID MODEL.SINGLE_PATHWAY_ARCH MODEL.MULTI_PATHWAY_ARCH"
    ).split()
)


def prepare_output(folder: Path) -> None:
    """Make the folder of a run. Raises UserError when it cannot be made or written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:  # has no name that could be left behind
            probe.write(b"0" * 4096)
            probe.flush()
    except FileExistsError:
        raise UserError(f"OUTPUT_DIR: {folder} is a file, not a folder") from None
    except OSError as error:
        raise UserError(f"OUTPUT_DIR: {folder} cannot be written: {error.strerror}") from None


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run had begun to write; nobody else may be writing there."""
    begun = [*folder.glob(".????????????????.partial"), *folder.glob("checkpoints/.*.pyth.tmp")]
    for path in begun:
        with contextlib.suppress(OSError):
            path.unlink()


def flat_settings(content: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(content, dict):
        return {prefix.rstrip("."): content}
    flat: dict[str, Any] = {}
    for key, value in content.items():
        flat |= flat_settings(value, f"{prefix}{key}.")
    return flat


def changed_settings(state: dict[str, Any], config_yaml: str, path: Path) -> list[str]:
    """What in the configuration makes another run of it than that of the checkpoint `state`.

    Only keys that both configurations have are compared: later versions may know more of them.
    Raises UserError where the checkpoint, at `path`, holds no configuration.
    """
    try:
        stored = flat_settings(yaml.safe_load(state["cfg"]))
    except (KeyError, yaml.YAMLError):
        raise UserError(
            f"{path}: holds no configuration of its run; give this run an OUTPUT_DIR of its own"
        ) from None
    current = flat_settings(yaml.safe_load(config_yaml))
    changed = [
        f"{name} was {stored[name]!r} and is {current[name]!r}"
        for name in sorted(stored.keys() & current.keys())
        if stored[name] != current[name] and not name.startswith(MAY_CHANGE)
    ]
    # Parameters of the loss have no defaults in the configuration: absent is a setting too.
    for name in sorted(stored.keys() ^ current.keys()):
        if name.startswith("LOSS.PARAMS.") and not _is_of_another_loss(name, current):
            changed.append(f"{name} was {stored.get(name)!r} and is {current.get(name)!r}")
    return changed


def check_same_run(
    state: dict[str, Any], settings: RunSettings, hashes: dict[str, str], path: Path
) -> None:
    """Raises UserError when the checkpoint in this folder belongs to another run.

    Without it, the same command with another loss would resume the finished run and train nothing.
    """
    changed = changed_settings(state, settings.config_yaml, path)
    ours, theirs = hashes, state.get("hashes", {})
    if "train.csv" in ours.keys() & theirs.keys() and ours["train.csv"] != theirs["train.csv"]:
        changed.append(f"{settings.data.annotation_dir / 'train.csv'} has other content")
    if ours.get("dev.txt") != theirs.get("dev.txt"):
        changed.append(_other_dev_split(settings.data, "dev.txt" in theirs))
    epochs = [line for line in changed if line.startswith("SOLVER.MAX_EPOCH ")]
    if state["epoch"] + 1 > settings.solver.max_epoch:
        changed = [f"it is of epoch {state['epoch'] + 1}, SOLVER.MAX_EPOCH is now smaller"]
    elif epochs == changed:
        if epochs:
            logger.warning("%s; training goes on from %s", epochs[0], path)
        return
    more = f" (and {len(changed) - 3} more)" if len(changed) > 3 else ""
    raise UserError(
        f"{path} is from a run with other settings: {'; '.join(changed[:3])}{more}; give this run "
        "an OUTPUT_DIR of its own, or set TRAIN.AUTO_RESUME False to start anew"
    )


def _other_dev_split(data: DataSettings, had_one: bool) -> str:
    path = dev_split_path(data.dev_split, data.annotation_dir)
    if path is None:
        return "it held clips out of training, and DATA.DEV_SPLIT names none now"
    if had_one:
        return f"{path} has other content"
    return f"it trained on the clips that {path} now holds out (DATA.DEV_SPLIT none: as it was)"


def _is_of_another_loss(name: str, current: dict[str, Any]) -> bool:
    """Whether a key like LOSS.PARAMS.LDAM.s is for a loss that is not in use."""
    parts = name.split(".")
    return len(parts) > 3 and parts[2] != current.get("MODEL.LOSS_FUNC")


def set_aside_checkpoints(folder: Path) -> None:
    """Move the checkpoints of an earlier run out of the way of a new one; nothing is deleted."""
    checkpoints = folder / "checkpoints"
    if checkpoints.is_dir() and any(checkpoints.iterdir()):
        aside = folder / f"earlier_{time.strftime('%Y%m%d_%H%M%S')}"
        number = 1
        while aside.exists():  # two starts within one second
            number += 1
            aside = aside.with_name(f"{aside.name.partition('-')[0]}-{number}")
        checkpoints.rename(aside)
        logger.info("the checkpoints of an earlier run are now in %s", aside)

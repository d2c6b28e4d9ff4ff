"""Checkpoints with SlowFast's names and keys: what they hold, how they are saved and resumed."""

from __future__ import annotations

import hashlib
import logging
import platform
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
import torch

from actionrec import launched
from actionrec.data.dev_split import dev_split_path
from actionrec.engine import checkpoint_file
from actionrec.engine.checkpoint_file import TornCheckpoint
from actionrec.engine.patience import History
from actionrec.errors import UserError
from actionrec.types import RunSettings

SCHEMA_VERSION = 1

_NAME = re.compile(r"checkpoint_epoch_(\d{5,})(?:_step_(\d{6,}))?\.pyth")

logger = logging.getLogger(__name__)


class CheckpointState(TypedDict, total=False):
    """What a checkpoint holds. SlowFast's files have the first four keys only."""

    epoch: int  # last finished epoch, counted from 0: one less than the number in the file's name
    model_state: dict[str, torch.Tensor]
    optimizer_state: dict[str, Any]
    cfg: str  # the configuration as YAML
    schema: int
    step: int  # optimizer steps in the epoch after `epoch`; 0: none
    loss_state: dict[str, Any]
    class_names: list[str]
    thresholds: list[float] | None  # of the scores, one a class; None: not chosen yet
    input: dict[str, Any]  # the geometry and the normalisation that the weights expect
    hashes: dict[str, str]  # sha256 of train.csv, val.csv, dev.txt and config
    base: str  # where the SlowFast tree came from: git | wheel | custom
    best_map: float | None  # of the validations so far
    history: list[list[float]]  # [finished epochs, mAP] of each of them, in order
    epoch_sums: dict[str, float]  # of the `step` steps: losses, steps, seconds, waited
    skipped_steps: int  # left out as their loss or gradient was not finite
    mixing_state: dict[str, Any]  # what FrameStack knows of the classes
    scaler_state: dict[str, Any]  # of the gradient scaler of fp16
    versions: dict[str, str]
    threads: int  # of torch, in each process
    world_size: int  # processes


class Resume(NamedTuple):
    """The newest whole checkpoint, and the newer ones that are torn, each with a line why."""

    path: Path
    state: dict[str, Any]
    torn: dict[Path, str]


def checkpoint_path(output_dir: Path, epoch: int, step: int | None = None) -> Path:
    """The file after `epoch` finished epochs, and `step` steps of the next one where given."""
    at_step = "" if step is None else f"_step_{step:06d}"
    return Path(output_dir) / "checkpoints" / f"checkpoint_epoch_{epoch:05d}{at_step}.pyth"


def resume_order(path: Path) -> tuple[int, int] | None:
    """(finished epochs, steps of the next) by the name of a file; None: of another name."""
    match = _NAME.fullmatch(path.name)
    return (int(match[1]), int(match[2] or 0)) if match else None


def best_path(output_dir: Path) -> Path:
    """The checkpoint of the best validation. SlowFast resumes names with `checkpoint` in them."""
    return Path(output_dir) / "checkpoints" / "best.pyth"


def make_state(
    settings: RunSettings,
    *,
    epoch: int,
    step: int,
    model_state: dict[str, torch.Tensor],
    optimizer_state: dict[str, Any],
    loss_state: dict[str, Any],
    class_names: Sequence[str],
    best_map: float | None,
    hashes: dict[str, str],
    history: History = (),
    epoch_sums: dict[str, float] | None = None,
    skipped_steps: int = 0,
    scaler_state: dict[str, Any] | None = None,
    mixing_state: dict[str, Any] | None = None,
) -> CheckpointState:
    """A run at one moment, as CheckpointState describes it."""
    return CheckpointState(
        epoch=epoch,
        model_state=model_state,
        optimizer_state=optimizer_state,
        cfg=settings.config_yaml,
        schema=SCHEMA_VERSION,
        step=step,
        loss_state=loss_state,
        class_names=list(class_names),
        thresholds=None,
        input=input_geometry(settings),
        hashes=hashes,
        base=settings.base,
        best_map=None if best_map is None else float(best_map),
        history=[[float(epoch), float(score)] for epoch, score in history],
        epoch_sums=epoch_sums or {},
        skipped_steps=skipped_steps,
        mixing_state=mixing_state or {},
        scaler_state=scaler_state or {},
        versions={
            "python": platform.python_version(),
            "torch": str(torch.__version__),
            "numpy": np.__version__,
        },
        threads=torch.get_num_threads(),
        world_size=launched.world_size(),
    )


def other_surroundings(state: dict[str, Any]) -> list[str]:
    """What differs here from where `state` was saved, of what decides the last bits of a sum."""
    here: dict[str, Any] = {
        "torch": str(torch.__version__),
        "threads": torch.get_num_threads(),
        "processes": launched.world_size(),
    }
    there = {
        "torch": state.get("versions", {}).get("torch"),
        "threads": state.get("threads"),
        "processes": state.get("world_size"),
    }
    return [
        f"{name}: {there[name]} when it was saved, {value} now"
        for name, value in here.items()
        if there[name] not in (None, value)
    ]


def save_checkpoint(path: Path, state: CheckpointState) -> None:
    """Write `state` to `path`, whole or not at all: see checkpoint_file.write."""
    checkpoint_file.write(Path(path), {**state, "schema": SCHEMA_VERSION})


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read and verify a checkpoint: ours (see CheckpointState), SlowFast's or its model zoo's.

    Tensors are on the CPU. Raises what checkpoint_file.read raises, and UserError for a file of a
    newer version, each naming the file.
    """
    path = Path(path)
    state, verified = checkpoint_file.read(path)
    if not isinstance(state, dict) or not isinstance(state.get("model_state"), dict):
        raise TornCheckpoint(f"{path}: holds no 'model_state'; give a checkpoint of a training run")
    version = state.get("schema")
    if not isinstance(version, int):
        version = 0
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{path}: written by a newer version (schema {version}, known here up to "
            f"{SCHEMA_VERSION}); use that version"
        )
    if version and not verified:
        raise TornCheckpoint(f"{path}: damaged, its last bytes are missing; use another")
    if not verified:
        logger.info("%s: no checksum, as in the files of other programs; not verified", path)
    return state


def find_resume(output_dir: Path) -> Resume | None:
    """The newest whole checkpoint of a run, or None where there is none at all.

    Raises UserError where there are some but all are torn: starting from 0 would overwrite what may
    be saved.
    """
    folder = checkpoint_path(output_dir, 0).parent
    named = [
        (order, path) for path in folder.glob("*") if (order := resume_order(path)) is not None
    ]
    torn: dict[Path, str] = {}
    for _, path in sorted(named, reverse=True):
        try:
            return Resume(path, _load_for_resume(path), torn)
        except TornCheckpoint as error:
            torn[path] = str(error)
    if not torn:
        return None
    raise UserError(
        f"{folder}: no checkpoint to resume from is whole: {'; '.join(torn.values())}. "
        "Bring one back, or set another OUTPUT_DIR to start anew"
    )


def _load_for_resume(path: Path) -> dict[str, Any]:
    if path.is_symlink() or not path.is_file():
        raise TornCheckpoint(f"{path}: is not a file that a run wrote; remove it")
    state = load_checkpoint(path)
    if not isinstance(state.get("epoch"), int) or "optimizer_state" not in state:
        raise TornCheckpoint(f"{path}: holds weights only, no 'epoch' and 'optimizer_state'")
    return state


def input_geometry(settings: RunSettings) -> dict[str, Any]:
    """What the weights expect of their input; sizes in pixels, the sampling rate in frames.

    Files of earlier versions lack `frame_sampling` and `resample`.
    """
    data, norm = settings.data, settings.input
    return {
        "num_frames": data.num_frames,
        "sampling_rate": data.sampling_rate,
        "frame_sampling": data.frame_sampling,
        "resample": data.resample,
        "train_crop_px": data.train_crop_px,
        "test_crop_px": data.test_crop_px,
        "mean": list(norm.mean),
        "std": list(norm.std),
        "bgr": norm.bgr,
        "alpha": norm.alpha,
    }


def file_hashes(settings: RunSettings) -> dict[str, str]:
    """sha256 of the configuration and of the annotation files that are there.

    The list of a dev split is `dev.txt`, whatever its name.
    """
    hashes = {"config": hashlib.sha256(settings.config_yaml.encode()).hexdigest()}
    folder = settings.data.annotation_dir
    paths: dict[str, Path | None] = {name: folder / name for name in ("train.csv", "val.csv")}
    paths["dev.txt"] = dev_split_path(settings.data.dev_split, folder)
    for name, path in paths.items():
        if path is not None and path.is_file():
            with path.open("rb") as file:
                hashes[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return hashes


def selection_hash(hashes: dict[str, str]) -> str | None:
    """Of `file_hashes`, that of the clips on which checkpoints are chosen."""
    return hashes.get("dev.txt", hashes.get("val.csv"))

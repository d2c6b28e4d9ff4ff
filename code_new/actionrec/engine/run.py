"""One run, from the annotation to the table: check, train, test."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from actionrec.data.bad_clips import BadClips
from actionrec.data.splits import Splits, load_splits
from actionrec.engine import checkpoint
from actionrec.engine.criterion import build_criterion, check_loss
from actionrec.engine.final_test import check_same_input, final_test
from actionrec.engine.initial_weights import load_exactly, load_initial_weights
from actionrec.engine.logging import log_to_file, setup_logging
from actionrec.engine.output import check_same_run, prepare_output, set_aside_checkpoints
from actionrec.engine.train import Training, train
from actionrec.errors import UserError
from actionrec.models.video_model import VideoModel
from actionrec.randomness import seed_start
from actionrec.types import RunSettings
from losses import Loss

logger = logging.getLogger(__name__)


class Weights(NamedTuple):
    """A checkpoint that was read, and what it is for."""

    path: Path
    state: dict[str, Any]
    resumes: bool  # it is of this very run, which goes on from it


def run(settings: RunSettings, build_model: Callable[[], nn.Module]) -> None:
    """Train and test as `settings` say. Raises UserError for what a user can mend."""
    device = _device(settings)
    if settings.train.enable:
        check_loss(settings.loss)
    prepare_output(settings.output_dir)
    setup_logging(settings.output_dir)
    try:
        _run(settings, build_model, device)
    except UserError as error:
        log_to_file(logging.ERROR, str(error))  # the console gets it from the front door
        raise


def _run(settings: RunSettings, build_model: Callable[[], nn.Module], device: torch.device) -> None:
    # What is wrong with a checkpoint is told before the data are read.
    start = _weights_to_start_from(settings) if settings.train.enable else None
    to_test = _weights_to_test(settings)
    splits = load_splits(settings)
    criterion = None
    if settings.train.enable:
        criterion = build_criterion(
            settings.loss,
            splits.train_clips,
            num_classes=settings.data.num_classes,
            max_epoch=settings.solver.max_epoch,
        )
    seed_start(settings.seed)
    model = VideoModel(build_model(), settings.input).to(device)
    if settings.log_model_info:
        parameters = sum(p.numel() for p in model.backbone.parameters())
        logger.info("%s: %s parameters, on %s", settings.arch, f"{parameters:,}", device)
    bad_clips = BadClips(
        settings.data.bad_clips,
        settings.data.max_bad_fraction,
        settings.output_dir / "bad_clips.csv",
    )
    tested = None
    if criterion is not None:
        started = time.monotonic()
        tested = _train(settings, splits, model, criterion, start, bad_clips)
        logger.info("training took %.0f s", time.monotonic() - started)
    if settings.test.enable and _is_yet_to_come(settings):
        to_test = _named_test_weights(settings)
    if to_test is not None:
        load_exactly(model.backbone, to_test.state["model_state"], to_test.path)
        check_same_input(to_test.state, settings, splits.class_names, to_test.path)
        tested = to_test.path
        logger.info("testing %s", tested)
    if settings.test.enable and tested is not None:
        final_test(settings, splits, model, tested, bad_clips)


def _device(settings: RunSettings) -> torch.device:
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "NUM_GPUS: 1, but torch sees no GPU here; use NUM_GPUS 0 for the CPU, or install the "
            "CUDA build of torch (prepare_dir_AR.sh --torch)"
        )
    return torch.device(settings.device)


def _weights_to_start_from(settings: RunSettings) -> Weights | None:
    """The newest checkpoint of this run, else the initial weights that the settings name."""
    if settings.train.auto_resume:
        found = checkpoint.find_resume(settings.output_dir)
        if found is not None:
            for reason in found.torn.values():
                logger.warning("passed over: %s", reason)
            check_same_run(found.state, settings, found.path)
            return Weights(found.path, found.state, resumes=True)
    if settings.train.checkpoint is None:
        return None
    path = settings.train.checkpoint
    return Weights(path, checkpoint.load_checkpoint(path), resumes=False)


def _weights_to_test(settings: RunSettings) -> Weights | None:
    """The ones that the settings name; without training, the newest of the output folder."""
    if not settings.test.enable:
        return None
    if settings.test.checkpoint is not None and not _is_yet_to_come(settings):
        return _named_test_weights(settings)
    if settings.train.enable:
        return None  # those that training is going to leave
    found = checkpoint.find_resume(settings.output_dir)
    if found is None:
        raise UserError(
            f"TEST.CHECKPOINT_FILE_PATH: empty, and {settings.output_dir} holds no checkpoint"
        )
    for reason in found.torn.values():
        logger.warning("passed over: %s", reason)
    return Weights(found.path, found.state, resumes=False)


def _is_yet_to_come(settings: RunSettings) -> bool:
    """Whether the checkpoint to test is one that this run's training writes, as best.pyth is."""
    path = settings.test.checkpoint
    if path is None or not settings.train.enable:
        return False
    return path.resolve().is_relative_to(settings.output_dir.resolve())


def _named_test_weights(settings: RunSettings) -> Weights | None:
    path = settings.test.checkpoint
    if path is None:
        return None
    return Weights(path, checkpoint.load_checkpoint(path), resumes=False)


def _train(
    settings: RunSettings,
    splits: Splits,
    model: VideoModel,
    criterion: Loss,
    start: Weights | None,
    bad_clips: BadClips,
) -> Path:
    """Resume or start, then train; returns the last checkpoint."""
    training = Training.start(settings, splits, model, criterion, bad_clips)
    if start is None or not start.resumes:
        set_aside_checkpoints(settings.output_dir)
    if start is not None and start.resumes:
        training.restore(start.state)
        logger.info("resumed from %s, epoch %d is next", start.path, training.epoch + 1)
    elif start is not None:
        report = load_initial_weights(
            model.backbone,
            start.state["model_state"],
            clear_name_pattern=settings.train.clear_name_pattern,
            inflate=settings.train.inflate,
        )
        logger.info("initial weights from %s", start.path)
        for line in report.lines():
            logger.info("%s", line)
        logger.info("training starts at epoch 1 with a new optimizer")
    train(training)
    return checkpoint.checkpoint_path(settings.output_dir, settings.solver.max_epoch)

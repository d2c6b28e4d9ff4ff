"""One run, from the annotation to the table: check, train, test."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from actionrec import launched
from actionrec.data.bad_clips import BadClips
from actionrec.data.splits import Splits, load_splits
from actionrec.engine import checkpoint, distributed
from actionrec.engine.agreement import require_agreement
from actionrec.engine.checkpoint_writer import CheckpointWriter
from actionrec.engine.criterion import build_criterion, check_loss
from actionrec.engine.final_test import check_same_input, final_test
from actionrec.engine.initial_weights import load_exactly, load_initial_weights
from actionrec.engine.logging import log_to_file, setup_logging
from actionrec.engine.output import (
    check_same_run,
    prepare_output,
    remove_leftovers,
    set_aside_checkpoints,
)
from actionrec.engine.output_lock import OutputLock
from actionrec.engine.stopping import stop_together
from actionrec.engine.surroundings import record_surroundings
from actionrec.engine.sync_batch_norm import synchronise
from actionrec.engine.train import train
from actionrec.engine.training import Training
from actionrec.errors import PeerLost, Stopped, UserError
from actionrec.models.precision import Precision
from actionrec.models.video_model import VideoModel, last_linear
from actionrec.randomness import seed_start
from actionrec.stop_signals import StopSignals
from actionrec.types import RunSettings

logger = logging.getLogger(__name__)


class Weights(NamedTuple):
    """A checkpoint that was read, and what it is for."""

    path: Path
    state: dict[str, Any]
    resumes: bool  # it is of this very run, which goes on from it


def run(settings: RunSettings, build_model: Callable[[], nn.Module]) -> None:
    """Train and test as `settings` say, as one of the processes that torchrun may have started.

    Raises UserError for what a user can mend, and Stopped after SIGTERM or SIGUSR1.
    """
    if settings.train.enable:
        check_loss(settings.loss, soft_targets=settings.train.mix != "none")
    device = distributed.start(settings.device, settings.dist_backend, settings.dist_timeout_sec)
    prepare_output(settings.output_dir)
    with OutputLock(settings.output_dir) as lock:
        if lock.is_held:
            remove_leftovers(settings.output_dir)
        setup_logging(settings.output_dir)
        try:
            _run_until_signal(settings, build_model, device)
        except Stopped as stopped:
            log_to_file(logging.WARNING, str(stopped))
            raise
        except UserError as error:
            log_to_file(logging.ERROR, str(error))  # the console gets it from the front door
            raise
    distributed.finish()


def _run_until_signal(
    settings: RunSettings, build_model: Callable[[], nn.Module], device: torch.device
) -> None:
    with StopSignals(resumes=settings.train.auto_resume) as stop:
        try:
            with distributed.peers_may_be_lost():
                _run(settings, build_model, device, stop)
        except PeerLost as lost:
            lost.was_told_to_end = bool(stop.received)
            raise
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"TRAIN.BATCH_SIZE, TEST.BATCH_SIZE: the memory of {device} is full "
                f"({str(error).partition('. ')[0]}); lower them (TEST.BATCH_SIZE is of each "
                "process), or set TRAIN.ACCUMULATE 2 or more, or TRAIN.PRECISION bf16"
            ) from error


def _run(
    settings: RunSettings,
    build_model: Callable[[], nn.Module],
    device: torch.device,
    stop: StopSignals,
) -> None:
    # What is wrong with a checkpoint is told before the data are read.
    hashes = checkpoint.file_hashes(settings)
    start = _weights_to_start_from(settings, hashes) if settings.train.enable else None
    to_test = _weights_to_test(settings)
    weights = start or to_test
    require_agreement(settings, hashes, None if weights is None else weights.path)
    record_surroundings(settings, device)  # not before: the folder may be another run's
    splits = load_splits(settings)
    _require_unchanged(splits, hashes)
    stop_together(stop, "nothing was begun yet")
    criterion = None
    if settings.train.enable:
        criterion = build_criterion(
            settings.loss,
            splits.train_clips,
            num_classes=settings.data.num_classes,
            max_epoch=settings.solver.max_epoch,
        )
    seed_start(settings.seed)
    backbone = build_model()
    if settings.sync_bn and launched.world_size() > 1:
        backbone = synchronise(backbone, device.type)
    precision = Precision(settings.precision, device.type)
    model = VideoModel(backbone, settings.input, precision).to(device)
    if settings.log_model_info:
        parameters = sum(p.numel() for p in model.backbone.parameters())
        logger.info("%s: %s parameters, on %s", settings.arch, f"{parameters:,}", _where(device))
    bad_clips = BadClips(
        settings.data.bad_clips,
        settings.data.max_bad_fraction,
        settings.output_dir / "bad_clips.csv",
    )
    tested = None
    if criterion is not None:
        with CheckpointWriter(settings.train.keep_checkpoints) as writer:
            training = Training.start(
                settings, splits, model, criterion, hashes, bad_clips, writer, stop
            )
            tested = _train(training, start)
        distributed.wait_for_all()  # the last checkpoint is on the disk
    if settings.test.enable and _is_yet_to_come(settings):
        to_test = _named_test_weights(settings)
    if to_test is not None:
        load_exactly(model.backbone, to_test.state["model_state"], to_test.path)
        distributed.copy_weights_from_main(model.backbone)  # a file may reach others later
        check_same_input(to_test.state, settings, splits.class_names, to_test.path)
        tested = to_test.path
        logger.info("testing %s", tested)
    if settings.test.enable and tested is not None:
        final_test(settings, splits, model, tested, bad_clips, stop)


def _where(device: torch.device) -> str:
    count = launched.world_size()
    return str(device) if count == 1 else f"{count} processes, the first on {device}"


def _require_unchanged(splits: Splits, hashes: dict[str, str]) -> None:
    """Raise UserError where an annotation was replaced between its hash and its reading."""
    for table in (splits.train, splits.val):
        if table is not None and hashes.get(table.source.name) != table.sha256:
            raise UserError(f"{table.source}: was changed while the run started; start it again")


def _weights_to_start_from(settings: RunSettings, hashes: dict[str, str]) -> Weights | None:
    """The newest checkpoint of this run, else the initial weights that the settings name."""
    if settings.train.auto_resume:
        found = checkpoint.find_resume(settings.output_dir)
        if found is not None:
            for reason in found.torn.values():
                logger.warning("passed over: %s", reason)
            check_same_run(found.state, settings, hashes, found.path)
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


def _train(training: Training, start: Weights | None) -> Path:
    """Resume or start, then train; returns the last checkpoint."""
    started = time.monotonic()
    _begin(training, start)
    train(training)
    logger.info("training took %.0f s", time.monotonic() - started)
    return checkpoint.checkpoint_path(training.settings.output_dir, training.epoch)


def _begin(training: Training, start: Weights | None) -> None:
    """Bring `training` to where it starts from: a checkpoint of its own, or initial weights."""
    settings, model = training.settings, training.model
    if launched.is_main() and (start is None or not start.resumes):
        set_aside_checkpoints(settings.output_dir)
    if start is not None and start.resumes:
        training.restore(start.state)
        start.state.clear()  # the file would stay mapped, and keep its place on the disk
        after = f" after step {training.step}" if training.step else ""
        logger.info("resumed from %s, epoch %d%s is next", start.path, training.epoch + 1, after)
    elif start is not None:
        new_head = settings.train.new_head
        head = last_linear(model.backbone, settings.data.num_classes)[0] if new_head else ""
        report = load_initial_weights(
            model.backbone,
            start.state["model_state"],
            clear_name_pattern=settings.train.clear_name_pattern,
            inflate=settings.train.inflate,
            leave_out=head,
        )
        logger.info("initial weights from %s", start.path)
        for line in report.lines():
            logger.info("%s", line)
        logger.info("training starts at epoch 1 with a new optimizer")

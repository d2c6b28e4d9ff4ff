"""One run, from the annotation to the table: check, train, test, save, say where all lies."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from actionrec.data.batching import test_loader
from actionrec.data.dataset import TestDataset
from actionrec.data.decoding import open_source
from actionrec.data.splits import Splits, load_splits
from actionrec.engine import checkpoint
from actionrec.engine.criterion import build_criterion, check_loss
from actionrec.engine.evaluate import score_views
from actionrec.engine.initial_weights import load_exactly, load_initial_weights
from actionrec.engine.logging import log_json_stats, setup_logging
from actionrec.engine.output import check_same_run, prepare_output, set_aside_checkpoints
from actionrec.engine.results import save_results
from actionrec.engine.train import Training, train
from actionrec.errors import UserError
from actionrec.metrics.ensemble import ViewEnsemble
from actionrec.metrics.floors import prior_floor, random_floor
from actionrec.metrics.protocols import MapSummary, summarize
from actionrec.models.video_model import VideoModel
from actionrec.randomness import seed_start
from actionrec.report.tables import map_table
from actionrec.types import RunSettings
from losses import Loss

logger = logging.getLogger(__name__)


def run(settings: RunSettings, build_model: Callable[[], nn.Module]) -> None:
    """Train and test as `settings` say. Raises UserError for what a user can mend."""
    device = _device(settings)
    if settings.train.enable:
        check_loss(settings.loss)
    prepare_output(settings.output_dir)
    setup_logging(settings.output_dir)
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
    parameters = sum(p.numel() for p in model.backbone.parameters())
    logger.info("%s: %s parameters, on %s", settings.arch, f"{parameters:,}", device)
    trained = None
    if criterion is not None:
        started = time.monotonic()
        trained = _train(settings, splits, model, criterion)
        logger.info("training took %.0f s", time.monotonic() - started)
    if settings.test.enable:
        _test(settings, splits, model, trained)


def _device(settings: RunSettings) -> torch.device:
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "NUM_GPUS: 1, but torch sees no GPU here; use NUM_GPUS 0 for the CPU, or install the "
            "CUDA build of torch (prepare_dir_AR.sh --torch)"
        )
    return torch.device(settings.device)


def _train(settings: RunSettings, splits: Splits, model: VideoModel, criterion: Loss) -> Path:
    """Resume or start, then train; returns the last checkpoint."""
    training = Training.start(settings, splits, model, criterion)
    found = None
    if settings.train.auto_resume:
        found = checkpoint.find_resume(settings.output_dir)
    else:
        set_aside_checkpoints(settings.output_dir)
    if found is not None:
        path, state, torn = found
        for reason in torn.values():
            logger.warning("passed over: %s", reason)
        check_same_run(state["cfg"], settings.config_yaml, path)
        training.restore(state)
        logger.info("resumed from %s, epoch %d is next", path, training.epoch + 1)
    elif settings.train.checkpoint is not None:
        state = checkpoint.load_checkpoint(settings.train.checkpoint)
        report = load_initial_weights(
            model.backbone,
            state["model_state"],
            clear_name_pattern=settings.train.clear_name_pattern,
            inflate=settings.train.inflate,
        )
        logger.info("initial weights from %s", settings.train.checkpoint)
        for line in report.lines():
            logger.info("%s", line)
        logger.info("training starts at epoch 1 with a new optimizer")
    train(training)
    return checkpoint.checkpoint_path(settings.output_dir, settings.solver.max_epoch)


def _test(settings: RunSettings, splits: Splits, model: VideoModel, trained: Path | None) -> None:
    """Test the weights that were just trained and saved in `trained`, else a checkpoint."""
    data, path = settings.data, trained
    if path is None:
        path, state = _checkpoint_to_test(settings)
        load_exactly(model.backbone, state["model_state"], path)
        logger.info("testing %s", path)
    clips = splits.val
    targets = clips.targets(data.num_classes)
    num_views = data.num_views * data.num_crops
    dataset = TestDataset(clips, open_source(clips, data), data)
    scores = score_views(
        model,
        test_loader(dataset, settings.loader),
        ViewEnsemble(len(clips), data.num_classes, num_views, settings.metrics.ensemble),
        num_clips=len(clips),
        batch_size=settings.loader.test_batch,
    )
    _report(settings, splits, scores, targets, path)


def _checkpoint_to_test(settings: RunSettings) -> tuple[Path, dict[str, Any]]:
    """The one that the configuration names, else the newest of the output folder."""
    if settings.test.checkpoint is not None:
        return settings.test.checkpoint, checkpoint.load_checkpoint(settings.test.checkpoint)
    found = checkpoint.find_resume(settings.output_dir)
    if found is None:
        raise UserError(
            f"TEST.CHECKPOINT_FILE_PATH: empty, and {settings.output_dir} holds no checkpoint"
        )
    return found.path, found.state


def _report(
    settings: RunSettings,
    splits: Splits,
    scores: np.ndarray,
    targets: np.ndarray,
    tested: Path,
) -> None:
    """Save the scores and log the table; a failure of the one does not keep the other back."""
    lines = [
        "this run's files",
        f"log          {settings.output_dir / 'stdout.log'}",
        f"checkpoint   {tested}",
    ]
    failures: list[UserError | OSError] = []
    if settings.test.results:
        path = settings.output_dir / settings.test.results
        try:
            table = save_results(
                path,
                ids=splits.val.ids,
                class_names=splits.class_names,
                scores=scores,
                targets=targets,
            )
            lines.append(f"predictions  {table}, {path.name}")
        except OSError as error:
            failures.append(error)
    try:
        logger.info("%s", _table(settings, splits, scores, targets))
    except UserError as error:
        failures.append(error)
    logger.info("%s", "\n".join(lines))
    if failures:
        raise UserError("\n".join(f"after the test: {f}" for f in failures))


def _table(settings: RunSettings, splits: Splits, scores: np.ndarray, targets: np.ndarray) -> str:
    segments = splits.segments
    summary = summarize(scores, targets, segments)
    floors: dict[str, MapSummary] = {"random": random_floor(targets, segments)}
    if splits.train is not None:
        counts = splits.train.class_counts(settings.data.num_classes)
        floors["class prior"] = prior_floor(counts, targets, segments)
    stats: dict[str, Any] = {"split": "test_final", "map": f"{100 * summary.overall:.2f}"}
    stats |= {
        f"map_{name}": f"{100 * getattr(summary, name):.2f}" for name in ("head", "middle", "tail")
    }
    log_json_stats(stats)
    views = f"{settings.data.num_views} x {settings.data.num_crops} views"
    title = f"test of {len(scores)} clips, {settings.metrics.ensemble} over {views} a clip"
    return f"{title}\n{map_table(summary, floors)}"

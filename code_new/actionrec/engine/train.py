"""Training: epochs of steps, precise batch norm, validation, checkpoints.

Randomness has no state: the order of an epoch comes from (seed, epoch), the augmentation of a clip
from (seed, epoch, clip), the dropout of a step from (seed, step). So epoch and step say all that a
resume needs.
"""

from __future__ import annotations

import itertools
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from actionrec.data.bad_clips import BadClips
from actionrec.data.batching import ClipLoader, train_loader
from actionrec.data.dataset import TrainDataset
from actionrec.data.splits import Splits
from actionrec.engine import checkpoint
from actionrec.engine.logging import (
    log_json_stats,
    printable,
    train_epoch_stats,
    train_iter_stats,
)
from actionrec.engine.optimizer import build_optimizer, set_learning_rate
from actionrec.engine.precise_bn import update_batch_norm
from actionrec.engine.scalars import ScalarWriter
from actionrec.engine.schedule import learning_rate
from actionrec.engine.validate import Validation
from actionrec.errors import UserError
from actionrec.models.video_model import VideoModel
from actionrec.progress import Progress
from actionrec.randomness import seed_step
from actionrec.types import Batch, RunSettings
from losses import Loss

logger = logging.getLogger(__name__)

# Precise batch norm draws its clips under epoch numbers of its own: it never disturbs training.
PRECISE_BN_EPOCH = 1_000_000


@dataclass
class Training:
    """What a run changes as it goes on, and the constants beside it."""

    settings: RunSettings
    splits: Splits
    model: VideoModel
    criterion: Loss
    optimizer: torch.optim.Optimizer
    scalars: ScalarWriter
    bad_clips: BadClips
    epoch: int = 0  # the next epoch to train
    best_map: float = -math.inf

    @classmethod
    def start(
        cls,
        settings: RunSettings,
        splits: Splits,
        model: VideoModel,
        criterion: Loss,
        bad_clips: BadClips,
    ) -> Training:
        return cls(
            settings,
            splits,
            model,
            criterion.to(model.device),
            build_optimizer(model.backbone, settings.solver),
            ScalarWriter(settings.tensorboard_dir),
            bad_clips,
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Continue after the epoch that `state`, a checkpoint of this very run, was saved at."""
        self.model.backbone.load_state_dict(state["model_state"])
        self.optimizer.load_state_dict(state["optimizer_state"])
        self.criterion.load_state_dict(state.get("loss_state", {}))  # upstream's files have none
        self.epoch = state["epoch"] + 1
        current = checkpoint.selection_hash(checkpoint.file_hashes(self.settings))
        for kept in (state, self._best_state()):
            if kept.get("best_map") is None:
                continue
            if checkpoint.selection_hash(kept.get("hashes", {})) not in (current, None):
                logger.warning(
                    "%s has changed: the best validation so far is forgotten",
                    self.splits.validation[0].source.name,
                )
                continue
            self.best_map = max(self.best_map, kept["best_map"])

    def _best_state(self) -> dict[str, Any]:
        """best.pyth, or nothing where it is missing or damaged."""
        best = checkpoint.best_path(self.settings.output_dir)
        if not best.is_file():
            return {}
        try:
            return checkpoint.load_checkpoint(best)
        except UserError as error:
            logger.warning("passed over: %s", error)
            return {}


def train(run: Training) -> None:
    """Train from `run.epoch` to SOLVER.MAX_EPOCH, saving and validating as the settings say.

    An epoch is saved before it is validated: what was trained outlives a validation that fails. A
    resumed run validates the saved epoch once more, as it may have been stopped in between.
    """
    settings = run.settings
    dataset = TrainDataset(
        run.splits.train_clips, run.splits.train_pixels, settings.data, settings.seed
    )
    batches = train_loader(dataset, settings.loader, run.bad_clips)
    validation = Validation(settings, run.splits, run.bad_clips)
    steps_left = len(batches) * (settings.solver.max_epoch - run.epoch)
    progress = Progress(steps_left, "train", "step")
    if run.epoch and _is_due(run, settings.train.eval_period):
        _validate(run, validation)
    while run.epoch < settings.solver.max_epoch:
        _train_epoch(run, batches, progress)
        run.epoch += 1
        evaluate = _is_due(run, settings.train.eval_period)
        save = _is_due(run, settings.train.checkpoint_period)
        if settings.train.precise_bn_batches and (evaluate or save):
            _precise_batch_norm(run, batches)
        if save:
            _save(run, checkpoint.checkpoint_path(settings.output_dir, run.epoch))
        if evaluate:
            _validate(run, validation)
    progress.close()
    run.scalars.close()


def _is_due(run: Training, period: int) -> bool:
    """Whether something that happens every `period` epochs happens after the one just trained."""
    return run.epoch == run.settings.solver.max_epoch or run.epoch % period == 0


def _validate(run: Training, validation: Validation) -> None:
    summary = validation.evaluate(run.model, run.epoch - 1, run.scalars)
    if summary.overall > run.best_map:
        run.best_map = summary.overall
        _save(run, checkpoint.best_path(run.settings.output_dir))


def _train_epoch(run: Training, batches: ClipLoader, progress: Progress) -> None:
    solver, epoch = run.settings.solver, run.epoch
    run.model.train()
    run.criterion.set_epoch(epoch)
    batches.set_epoch(epoch)
    losses_seen: list[float] = []
    started = clock = time.monotonic()
    for step, batch in enumerate(batches):
        waited = time.monotonic() - clock
        rate = learning_rate(solver, epoch + step / len(batches))
        if batch is not None:
            losses_seen.append(_train_step(run, batch, epoch * len(batches) + step, rate))
        progress.update()
        now = time.monotonic()
        if losses_seen and (step + 1) % run.settings.log_period == 0:
            steps_left = len(batches) * (solver.max_epoch - epoch) - step - 1
            stats = train_iter_stats(
                epoch=epoch,
                max_epoch=solver.max_epoch,
                iteration=step,
                num_iterations=len(batches),
                dt=now - clock,
                dt_data=waited,
                eta_sec=(now - started) / (step + 1) * steps_left,
                loss=float(np.median(losses_seen[-run.settings.log_period :])),
                lr=rate,
            )
            log_json_stats(stats)
        clock = now
    if not losses_seen:
        raise UserError(f"no clip of {run.splits.train_clips.source} could be read, see above")
    took, loss = time.monotonic() - started, float(np.mean(losses_seen))
    stats = train_epoch_stats(
        epoch=epoch,
        max_epoch=solver.max_epoch,
        dt=took,
        eta_sec=took * (solver.max_epoch - epoch - 1),
        loss=loss,
        lr=rate,
    )
    log_json_stats(stats)
    run.scalars.write("Train/loss", loss, epoch)
    run.scalars.write("Train/lr", rate, epoch)


def _train_step(run: Training, batch: Batch, step: int, rate: float) -> float:
    """One optimizer step; returns the loss. Raises UserError when the loss is not finite."""
    seed_step(run.settings.seed, step)
    set_learning_rate(run.optimizer, rate)
    logits = run.model(batch.frames)
    loss: Tensor = run.criterion(logits, batch.targets.to(logits.device))
    value = loss.item()
    if not math.isfinite(value):
        ids = ", ".join(printable(run.splits.train_clips.ids[c]) for c in batch.clips)
        raise UserError(
            f"{run.settings.loss.name} is {value} at epoch {run.epoch + 1}, step {step}, learning "
            f"rate {rate:.3g}, clips {ids}; the last checkpoint is untouched; "
            "try a lower SOLVER.BASE_LR"
        )
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    run.optimizer.step()
    return value


def _precise_batch_norm(run: Training, batches: ClipLoader) -> None:
    batches.set_epoch(PRECISE_BN_EPOCH + run.epoch)
    num_batches = min(run.settings.train.precise_bn_batches, len(batches))

    def frames() -> Iterator[Tensor]:
        last = None
        for batch in Progress(num_batches, "precise batch norm", "batch").over(batches):
            if batch is not None:
                last = batch.frames
                yield last
        if last is not None:  # as many batches were promised: bad clips may have left fewer
            yield from itertools.repeat(last)

    update_batch_norm(run.model, frames(), num_batches)


def _save(run: Training, path: Path) -> None:
    state = checkpoint.make_state(
        run.settings,
        epoch=run.epoch - 1,
        step=0,
        model_state=run.model.backbone.state_dict(),
        optimizer_state=run.optimizer.state_dict(),
        loss_state=run.criterion.state_dict(),
        class_names=run.splits.class_names,
        best_map=None if math.isinf(run.best_map) else run.best_map,
    )
    checkpoint.save_checkpoint(path, state)

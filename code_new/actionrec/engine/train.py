"""Training: epochs of steps, precise batch norm, validation, checkpoints.

Randomness has no state: the order of an epoch comes from (seed, epoch), the augmentation of a clip
from (seed, epoch, clip), the dropout of a step from (seed, step). So epoch and step say all that a
resume needs.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from actionrec.data.batching import train_loader, val_loader
from actionrec.data.dataset import TrainDataset, ValDataset
from actionrec.data.decoding import open_source
from actionrec.data.splits import Splits
from actionrec.engine import checkpoint
from actionrec.engine.evaluate import score_clips
from actionrec.engine.logging import log_json_stats, printable
from actionrec.engine.optimizer import build_optimizer, set_learning_rate
from actionrec.engine.precise_bn import update_batch_norm
from actionrec.engine.randomness import seed_step
from actionrec.engine.scalars import ScalarWriter
from actionrec.engine.schedule import learning_rate
from actionrec.errors import UserError
from actionrec.metrics.protocols import MapSummary, summarize
from actionrec.models.video_model import VideoModel
from actionrec.types import Batch, RunSettings

logger = logging.getLogger(__name__)

# Precise batch norm draws its clips under epoch numbers of its own: it never disturbs training.
PRECISE_BN_EPOCH = 1_000_000


@dataclass
class Training:
    """What a run changes as it goes on, and the constants beside it."""

    settings: RunSettings
    splits: Splits
    model: VideoModel
    criterion: nn.Module
    optimizer: torch.optim.Optimizer
    scalars: ScalarWriter
    epoch: int = 0  # the next epoch to train
    best_map: float = -math.inf

    @classmethod
    def start(
        cls, settings: RunSettings, splits: Splits, model: VideoModel, criterion: nn.Module
    ) -> Training:
        return cls(
            settings,
            splits,
            model,
            criterion.to(model.device),
            build_optimizer(model.backbone, settings.solver),
            ScalarWriter(settings.tensorboard_dir),
        )

    def restore(self, state: dict[str, Any]) -> None:
        """Continue after the epoch that `state`, a checkpoint of this very run, was saved at."""
        self.model.backbone.load_state_dict(state["model_state"])
        self.optimizer.load_state_dict(state["optimizer_state"])
        self.criterion.load_state_dict(state["loss_state"])
        self.epoch = state["epoch"] + 1
        if state["best_map"] is not None:
            self.best_map = state["best_map"]


def train(run: Training) -> None:
    """Train from `run.epoch` to SOLVER.MAX_EPOCH, saving and validating as the settings say."""
    settings = run.settings
    train_clips = run.splits.train
    if train_clips is None:
        raise ValueError("training needs the training split")
    dataset = TrainDataset(
        train_clips, open_source(train_clips, settings.data), settings.data, settings.seed
    )
    batches = train_loader(dataset, settings.loader)
    validation = _Validation(settings, run.splits)
    while run.epoch < settings.solver.max_epoch:
        epoch = run.epoch
        last = epoch + 1 == settings.solver.max_epoch
        _train_epoch(run, batches)
        evaluate = last or (epoch + 1) % settings.train.eval_period == 0
        save = last or (epoch + 1) % settings.train.checkpoint_period == 0
        if settings.train.precise_bn_batches and (evaluate or save):
            _precise_batch_norm(run, batches)
        summary = validation.evaluate(run) if evaluate else None
        is_best = summary is not None and summary.overall > run.best_map
        if summary is not None and is_best:
            run.best_map = summary.overall
        run.epoch += 1
        if save or is_best:
            _save(run, epoch, save=save, is_best=is_best)
    run.scalars.close()


def _train_epoch(run: Training, batches: Any) -> None:
    solver, epoch = run.settings.solver, run.epoch
    run.model.train()
    run.criterion.set_epoch(epoch)
    batches.batch_sampler.set_epoch(epoch)
    losses_seen: list[float] = []
    started = clock = time.monotonic()
    for step, batch in enumerate(batches):
        waited = time.monotonic() - clock
        rate = learning_rate(solver, epoch + step / len(batches))
        losses_seen.append(_train_step(run, batch, epoch * len(batches) + step, rate))
        now = time.monotonic()
        if (step + 1) % run.settings.log_period == 0:
            left = len(batches) * (solver.max_epoch - epoch) - step - 1
            done = step + 1
            stats = {
                "_type": "train_iter",
                "epoch": f"{epoch + 1}/{solver.max_epoch}",
                "iter": f"{done}/{len(batches)}",
                "dt": now - clock,
                "dt_data": waited,
                "eta": _clock((now - started) / done * left),
                "loss": float(np.median(losses_seen[-run.settings.log_period :])),
                "lr": rate,
            }
            log_json_stats(stats)
        clock = now
    stats = {
        "_type": "train_epoch",
        "epoch": f"{epoch + 1}/{solver.max_epoch}",
        "dt": time.monotonic() - started,
        "eta": _clock((time.monotonic() - started) * (solver.max_epoch - epoch - 1)),
        "loss": float(np.mean(losses_seen)),
        "lr": rate,
    }
    log_json_stats(stats)
    run.scalars.write("Train/loss", stats["loss"], epoch)
    run.scalars.write("Train/lr", rate, epoch)


def _train_step(run: Training, batch: Batch, step: int, rate: float) -> float:
    """One optimizer step; returns the loss. Raises UserError when the loss is not finite."""
    seed_step(run.settings.seed, step)
    set_learning_rate(run.optimizer, rate)
    logits = run.model(batch.frames)
    loss: Tensor = run.criterion(logits, batch.targets.to(logits.device))
    value = loss.item()
    if not math.isfinite(value):
        ids = ", ".join(printable(run.splits.train.ids[c]) for c in batch.clips)
        raise UserError(
            f"{run.settings.loss.name} is {value} at epoch {run.epoch + 1}, step {step}, learning "
            f"rate {rate:.3g}, clips {ids}; the last checkpoint is untouched; "
            "try a lower SOLVER.BASE_LR"
        )
    run.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    run.optimizer.step()
    return value


def _clock(seconds: float) -> str:
    """h:mm:ss"""
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{seconds:02d}"


def _precise_batch_norm(run: Training, batches: Any) -> None:
    batches.batch_sampler.set_epoch(PRECISE_BN_EPOCH + run.epoch)

    def frames() -> Iterator[Tensor]:
        for batch in batches:
            yield batch.frames

    update_batch_norm(run.model, frames(), min(run.settings.train.precise_bn_batches, len(batches)))


class _Validation:
    """The validation split, opened once; scores it with one centre view a clip."""

    def __init__(self, settings: RunSettings, splits: Splits) -> None:
        clips = splits.val
        dataset = ValDataset(clips, open_source(clips, settings.data), settings.data)
        self.batches = val_loader(dataset, settings.loader)

    def evaluate(self, run: Training) -> MapSummary:
        splits, solver, started = run.splits, run.settings.solver, time.monotonic()
        num_classes = run.settings.data.num_classes
        scores, targets = score_clips(run.model, self.batches, len(splits.val), num_classes)
        summary = summarize(scores, targets, splits.segments)
        log_json_stats(
            {
                "_type": "val_epoch",
                "epoch": f"{run.epoch + 1}/{solver.max_epoch}",
                "time_diff": time.monotonic() - started,
                "map": summary.overall,
                "map_head": summary.head,
                "map_middle": summary.middle,
                "map_tail": summary.tail,
            }
        )
        for name in ("overall", "head", "middle", "tail"):
            run.scalars.write(f"Val/mAP_{name}", getattr(summary, name), run.epoch)
        return summary


def _save(run: Training, epoch: int, *, save: bool, is_best: bool) -> None:
    settings = run.settings
    state = checkpoint.make_state(
        settings,
        epoch=epoch,
        step=0,
        model_state=run.model.backbone.state_dict(),
        optimizer_state=run.optimizer.state_dict(),
        loss_state=run.criterion.state_dict(),
        class_names=run.splits.class_names,
        best_map=None if math.isinf(run.best_map) else run.best_map,
    )
    if save:
        path = checkpoint.checkpoint_path(settings.output_dir, epoch + 1)
        checkpoint.save_checkpoint(path, state)
    if is_best:
        checkpoint.save_checkpoint(checkpoint.best_path(settings.output_dir), state)

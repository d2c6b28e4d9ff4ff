"""What a run changes as it trains, and how that is saved and restored."""

from __future__ import annotations

import dataclasses
import logging
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from actionrec import launched
from actionrec.data.bad_clips import BadClips
from actionrec.data.splits import Splits
from actionrec.engine import checkpoint, distributed
from actionrec.engine.checkpoint_writer import CheckpointWriter
from actionrec.engine.epoch_table import TABLE_NAME, EpochTable
from actionrec.engine.mixing import Mixing
from actionrec.engine.optimizer import build_optimizer
from actionrec.engine.patience import History
from actionrec.engine.scalars import ScalarWriter
from actionrec.engine.stopping import signal_of_all, stop_together
from actionrec.engine.train_step import TrainStep
from actionrec.errors import UserError
from actionrec.models.video_model import VideoModel
from actionrec.stop_signals import StopSignals
from actionrec.types import RunSettings
from losses import Loss

logger = logging.getLogger(__name__)


@dataclass
class EpochSums:
    """Of the steps of an epoch that are done; saved with it, so that a resume loses nothing."""

    losses: float = 0.0  # means over the clips of a step
    steps: int = 0  # that changed the weights
    seconds: float = 0.0
    waited: float = 0.0  # of those, for clips


@dataclass
class Training:
    """The state of a run, from `epoch` and `step` on, and the constants beside it."""

    settings: RunSettings
    splits: Splits
    model: VideoModel
    criterion: Loss
    optimizer: torch.optim.Optimizer
    train_step: TrainStep
    scalars: ScalarWriter
    table: EpochTable
    bad_clips: BadClips
    writer: CheckpointWriter
    stop: StopSignals
    hashes: dict[str, str]  # of the files that the run was started with
    epoch: int = 0  # the next epoch to train, or the one that is being trained
    step: int = 0  # steps of it that are done
    sums: EpochSums = field(default_factory=EpochSums)
    best_map: float = -math.inf
    history: History = ()

    @classmethod
    def start(
        cls,
        settings: RunSettings,
        splits: Splits,
        model: VideoModel,
        criterion: Loss,
        hashes: dict[str, str],
        bad_clips: BadClips,
        writer: CheckpointWriter,
        stop: StopSignals,
    ) -> Training:
        criterion = criterion.to(model.device)
        if settings.train.head_only:
            model.train_last_layer_alone(settings.data.num_classes)
        mixing = None
        if settings.train.mix != "none":
            targets = splits.train_clips.targets(settings.data.num_classes)
            mixing = Mixing(settings.train.mix, settings.train.mix_alpha, targets)
        optimizer = build_optimizer(model.backbone, settings.solver)
        return cls(
            settings,
            splits,
            model,
            criterion,
            optimizer,
            TrainStep(settings, model, criterion, optimizer, splits.train_clips.ids, mixing),
            _scalar_writer(settings),
            EpochTable(settings.output_dir / TABLE_NAME if launched.is_main() else None),
            bad_clips,
            writer,
            stop,
            hashes,
        )

    def is_due(self, period: int, ahead: int = 0) -> bool:
        """Whether what happens every `period` epochs does when `epoch + ahead` are finished."""
        finished = self.epoch + ahead
        return finished == self.settings.solver.max_epoch or finished % period == 0

    def end_epoch(self) -> None:
        """All of the epoch is done: the next one begins."""
        if self.train_step.mixing is not None:
            self.train_step.mixing.end_epoch()
        self.epoch, self.step = self.epoch + 1, 0
        self.sums = EpochSums()

    def restore(self, state: dict[str, Any]) -> None:
        """Continue where `state`, a checkpoint of this very run, was saved."""
        self.model.backbone.load_state_dict(state["model_state"])
        self.optimizer.load_state_dict(state["optimizer_state"])
        if state.get("loss_state"):  # upstream's files have none, and some losses neither
            self.criterion.load_state_dict(state["loss_state"])
        if self.train_step.mixing is not None:
            self.train_step.mixing.load_state_dict(state.get("mixing_state", {}))
        if state.get("scaler_state"):
            self.model.precision.scaler.load_state_dict(state["scaler_state"])
        self.epoch, self.step = state["epoch"] + 1, state.get("step", 0)
        self.sums = EpochSums(**state.get("epoch_sums", {}))
        self.train_step.skipped = state.get("skipped_steps", 0)
        for line in checkpoint.other_surroundings(state):
            logger.warning("%s: the run goes on, but not to the last bit as it would have", line)
        current = checkpoint.selection_hash(self.hashes)
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
            if kept is state:
                self.history = [(epoch, score) for epoch, score in state.get("history", ())]
        # As the main process has it: another machine may not see best.pyth yet.
        self.best_map = float(distributed.gather_numbers([self.best_map])[0, 0])

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

    def save(self, *, last: bool = False) -> Path:
        """Save where the run is; last: return when it is on the disk."""
        path = checkpoint.checkpoint_path(self.settings.output_dir, self.epoch, self.step or None)
        self._save(path, last=last)
        return path

    def save_best(self) -> None:
        """Save the run as that of the best validation so far."""
        is_end = self.epoch == self.settings.solver.max_epoch
        self._save(checkpoint.best_path(self.settings.output_dir), last=is_end)

    def save_or_stop_after_step(self, steps_per_epoch: int) -> None:
        """What a step is followed by: now and then a save; an end, where a signal came."""
        if signal_of_all(self.stop):
            self.save_and_stop()
        period = self.settings.train.checkpoint_steps
        if period and self.step % period == 0 and self.step < steps_per_epoch:
            self.save()

    def save_and_stop(self) -> None:
        """Save, and raise Stopped in every process."""
        path = self.save(last=True)
        stop_together(self.stop, f"epoch {self.epoch + 1} after step {self.step}, saved {path}")

    def _save(self, path: Path, *, last: bool) -> None:
        mixing = self.train_step.mixing
        mixing_state = {} if mixing is None else mixing.state_dict()  # of all processes
        if not launched.is_main():
            return
        state = checkpoint.make_state(
            self.settings,
            hashes=self.hashes,
            epoch=self.epoch - 1,
            step=self.step,
            model_state=self.model.backbone.state_dict(),
            optimizer_state=self.optimizer.state_dict(),
            loss_state=self.criterion.state_dict(),
            mixing_state=mixing_state,
            scaler_state=self.model.precision.scaler.state_dict(),
            class_names=self.splits.class_names,
            best_map=None if math.isinf(self.best_map) else self.best_map,
            history=self.history,
            epoch_sums=dataclasses.asdict(self.sums),
            skipped_steps=self.train_step.skipped,
        )
        self.writer.save(path, state, last=last)


def _scalar_writer(settings: RunSettings) -> ScalarWriter:
    if not launched.is_main():
        return ScalarWriter(None)
    return ScalarWriter(
        settings.tensorboard_dir,
        wandb_project=settings.wandb_project,
        output_dir=settings.output_dir,
        config_yaml=settings.config_yaml,
    )

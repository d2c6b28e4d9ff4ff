"""One optimizer step: the batch of all processes in, the mean loss over its clips out."""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from actionrec import launched
from actionrec.engine import distributed
from actionrec.engine.logging import printable
from actionrec.engine.mixing import Mixing
from actionrec.engine.optimizer import set_learning_rate
from actionrec.errors import UserError
from actionrec.models.video_model import VideoModel
from actionrec.randomness import seed_step
from actionrec.types import Batch, RunSettings
from losses import Loss

logger = logging.getLogger(__name__)


class Place(NamedTuple):
    """Where in a run a step is, for messages too: counted from 0."""

    epoch: int
    step: int  # in the epoch
    total_step: int  # since the start of the run
    lr: float


class TrainStep:
    """Forward, backward and the optimizer.

    The step of one process with the whole batch and that of several, each with a share of it, are
    the same but for rounding and for batch norm, which sees a share (BN.NORM_TYPE
    sync_batchnorm: all of it). TRAIN.ACCUMULATE parts of a share run one after the other. ids: of
    the clips, for messages. mixing: None mixes nothing.
    """

    def __init__(
        self,
        settings: RunSettings,
        model: VideoModel,
        criterion: Loss,
        optimizer: torch.optim.Optimizer,
        ids: Sequence[str],
        mixing: Mixing | None = None,
    ) -> None:
        self.settings, self.model, self.criterion = settings, model, criterion
        self.optimizer, self.ids, self.mixing = optimizer, ids, mixing
        self.skipped = 0  # steps whose loss or gradient was not finite
        self._scaler = model.precision.scaler
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        self._statistics = [*model.buffers(), *criterion.buffers()]
        if not settings.train.skip_nonfinite:
            self._statistics = []  # nothing is ever taken back
        self._forward = _parallel(model)

    def take(self, batch: Batch | None, place: Place) -> float | None:
        """Train on `batch`, this process's share; None: no clip of the share could be read.

        Returns the mean loss over the clips of all processes, or None where the step was left out,
        as every process then does: one had no clip, or a loss or gradient was not finite and
        TRAIN.SKIP_NONFINITE allows it. Raises UserError for one that is not allowed.
        """
        seed_step(self.settings.seed, place.total_step, launched.rank())
        set_learning_rate(self.optimizer, place.lr)
        shares = distributed.gather_numbers([0 if batch is None else len(batch.clips)])[:, 0]
        if batch is None or not shares.all():
            return None
        self.optimizer.zero_grad(set_to_none=True)
        before = [buffer.clone() for buffer in self._statistics]
        total = self._backward(batch, shares, place)
        if total is None or not self._update(batch, place):
            for buffer, value in zip(self._statistics, before, strict=True):
                buffer.copy_(value)  # a NaN would stay in the running means of batch norm
            return None
        return total / float(shares.sum())

    def _backward(self, batch: Batch, shares: np.ndarray, place: Place) -> float | None:
        """Gradients of the mean over all clips; returns the sum of all clips' losses."""
        num_parts = int(min(self.settings.train.accumulate, shares.min()))
        whole = torch.as_tensor(batch.frames), torch.as_tensor(batch.targets)
        if self.mixing is not None:
            on_device = whole[0].to(self.model.device, non_blocking=True)
            whole = self.mixing.mix(on_device, whole[1])
        frames, targets, clips = (
            each.tensor_split(num_parts) for each in (*whole, torch.as_tensor(batch.clips))
        )
        own_sum, kept = 0.0, []
        for part in range(num_parts):
            is_last = part == num_parts - 1
            with self._exchange(is_last):
                logits = self._forward(frames[part])
                kept.append((clips[part], logits.detach()))
                loss: Tensor = self.criterion(logits, targets[part].to(logits.device))
                own_sum += loss.item() * len(frames[part])
                if is_last:  # before the gradients meet: a NaN would reach every process
                    sums = distributed.gather_numbers([own_sum])[:, 0]
                    if not math.isfinite(sums.sum()):
                        self._not_finite(self.settings.loss.name, own_sum, batch, place)
                        return None
                # Processes' gradients are averaged: fewer readable clips count for less.
                weight = len(frames[part]) * len(shares) / float(shares.sum())
                self._scaler.scale(loss * weight).backward()
        if self.mixing is not None:
            for of_part in kept:  # not of a step whose loss is not finite
                self.mixing.note(*of_part)
        return float(sums.sum())

    def _exchange(self, is_last: bool) -> AbstractContextManager[None]:
        """Gradients meet in the backward pass of the last part alone."""
        if is_last or not isinstance(self._forward, DistributedDataParallel):
            return contextlib.nullcontext()
        return self._forward.no_sync()  # type: ignore[no-any-return]

    def _update(self, batch: Batch, place: Place) -> bool:
        """Whether the weights changed; the gradients are the same in every process."""
        solver = self.settings.solver
        self._scaler.unscale_(self.optimizer)
        if solver.clip_value:
            nn.utils.clip_grad_value_(self._parameters, solver.clip_value)
        norm = nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
        if solver.clip_norm:
            nn.utils.clip_grads_with_norm_(self._parameters, solver.clip_norm, norm)
        # fp16 finds its scale by gradients that overflow: its scaler leaves such steps out itself.
        if not self._scaler.is_enabled() and not math.isfinite(norm):
            self._not_finite("the norm of the gradient", norm.item(), batch, place)
            return False
        self._scaler.step(self.optimizer)
        self._scaler.update()
        if self._scaler.is_enabled() and not math.isfinite(norm) and self._scaler.get_scale() < 1:
            self._not_finite("the norm of the gradient, at any scale,", norm.item(), batch, place)
            return False
        return True

    def _not_finite(self, what: str, value: float, batch: Batch, place: Place) -> None:
        """Count a step that cannot be taken, in all processes; raises when they are too many."""
        own = ""
        if not math.isfinite(value):
            ids = ", ".join(printable(self.ids[c]) for c in batch.clips)
            own = (
                f"{what} is {value} at epoch {place.epoch + 1}, step {place.step}, learning rate "
                f"{place.lr:.3g}, loss {self.settings.loss.name}, clips {ids}"
            )
        message = next(text for text in distributed.gather_texts(own) if text)
        self.skipped += 1
        allowed = self.settings.train.skip_nonfinite
        if self.skipped > allowed:
            more = f" after {allowed} others (TRAIN.SKIP_NONFINITE)" if allowed else ""
            raise UserError(
                f"{message}{more}; the last checkpoint is untouched; try a lower SOLVER.BASE_LR"
            )
        logger.warning(
            "step %d of TRAIN.SKIP_NONFINITE %d left out: %s", self.skipped, allowed, message
        )


def _parallel(model: VideoModel) -> nn.Module:
    """What to call in training: `model`, or torch's wrapper that averages over the processes."""
    if launched.world_size() == 1:
        return model
    on_gpu = [model.device] if model.device.type == "cuda" else None
    # Looking for unused parameters, DDP keeps its first buckets. It would form others after a step,
    # and a resumed run, which begins with the first, would add gradients in another order.
    keep_buckets = model.device.type == "cpu"  # where runs are promised to be equal to the bit
    return DistributedDataParallel(model, device_ids=on_gpu, find_unused_parameters=keep_buckets)

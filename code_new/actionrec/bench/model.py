"""What a training step, a forward pass and a checkpoint cost: SlowFast's way beside ours, as rows.

SlowFast's way is that of its loop: float32 in the order (N, C, T, H, W), frames normalised by the
loader, a checkpoint written and read by torch alone while training waits. Both have the same
weights and take turns in this process.
"""

from __future__ import annotations

import dataclasses
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import losses
from actionrec.bench.rows import Row
from actionrec.engine import checkpoint, distributed
from actionrec.engine.checkpoint_writer import CheckpointWriter
from actionrec.engine.optimizer import build_optimizer
from actionrec.engine.train_step import Place, TrainStep
from actionrec.models.precision import Precision
from actionrec.models.video_model import VideoModel
from actionrec.types import Batch, RunSettings

PRECISIONS = ("float32", "bf16")


def measure(
    build_model: Callable[[], nn.Module], settings: RunSettings, batch: int, rounds: int = 3
) -> list[Row]:
    """The medians of `rounds`, after one that is not counted; seconds, and of memory GB.

    batch: clips of a step, of the size that `settings` give.
    """
    device = distributed.start(settings.device, settings.dist_backend, settings.dist_timeout_sec)
    clips = _clips(settings, batch)
    plain = _Plain(build_model(), settings)
    ours = {name: _Ours(build_model(), settings, name) for name in PRECISIONS}
    rows = []
    for work, title in (("train", "training step"), ("evaluate", "forward pass, evaluation")):
        calls = {name: partial(getattr(side, work), *clips) for name, side in ours.items()}
        calls[""] = partial(getattr(plain, work), *clips)
        seconds = _medians(calls, rounds, device)
        rows += [_row(f"{title}, {name}, s", seconds[""], seconds[name]) for name in PRECISIONS]
        if work == "train" and device.type == "cuda":
            peaks = {name: _peak_gb(call, device) for name, call in calls.items()}
            rows += [
                _row(f"memory of a {title} above the weights, {name}, GB", peaks[""], peaks[name])
                for name in PRECISIONS
            ]
    return rows + _checkpoint_rows(plain, settings, rounds)


def _row(name: str, theirs: float, ours: float) -> Row:
    return Row(name, theirs, ours, theirs / ours, None)


def _clips(settings: RunSettings, batch: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    px, data = settings.data.train_crop_px, settings.data
    frames = rng.integers(0, 256, (batch, data.num_frames, px, px, 3), np.uint8)
    targets = (rng.random((batch, data.num_classes)) < 0.02).astype(np.float32)
    return frames, targets


class _Plain:
    """A step as SlowFast's loop does it."""

    def __init__(self, model: nn.Module, settings: RunSettings) -> None:
        self.model = VideoModel(model, settings.input).to(settings.device)
        self.optimizer = build_optimizer(model, settings.solver)
        self.loss = nn.BCEWithLogitsLoss()

    def train(self, frames: np.ndarray, targets: np.ndarray) -> None:
        self.model.train()
        loss = self.loss(
            self.model(torch.from_numpy(frames)), torch.from_numpy(targets).to(self.model.device)
        )
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        loss.item()

    def evaluate(self, frames: np.ndarray, _: np.ndarray) -> None:
        self.model.eval()
        with torch.no_grad():
            self.model(torch.from_numpy(frames)).cpu()


class _Ours:
    """A step as this project's loop does it."""

    def __init__(self, model: nn.Module, settings: RunSettings, precision: str) -> None:
        number_format = Precision(precision, settings.device)
        self.model = VideoModel(model, settings.input, number_format).to(settings.device)
        optimizer = build_optimizer(self.model.backbone, settings.solver)
        criterion = losses.build("bce_loss")
        self.step = TrainStep(settings, self.model, criterion, optimizer, ids=())

    def train(self, frames: np.ndarray, targets: np.ndarray) -> None:
        self.model.train()
        batch = Batch(torch.from_numpy(frames), torch.from_numpy(targets), range(len(frames)))
        self.step.take(batch, Place(0, 0, 0, 1e-3))

    def evaluate(self, frames: np.ndarray, _: np.ndarray) -> None:
        self.model.eval()
        with torch.inference_mode():
            self.model(torch.from_numpy(frames)).cpu()


def _medians(
    calls: Mapping[str, Callable[[], Any]], rounds: int, device: torch.device
) -> dict[str, float]:
    """The median seconds of each, all of them in turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            taken = _seconds(call, device)
            if number:
                seconds[name].append(taken)
    return {name: statistics.median(values) for name, values in seconds.items()}


def _seconds(call: Callable[[], Any], device: torch.device) -> float:
    started = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def _peak_gb(call: Callable[[], Any], device: torch.device) -> float:
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    call()
    return (torch.cuda.max_memory_allocated(device) - before) / 1e9


def _checkpoint_rows(plain: _Plain, settings: RunSettings, rounds: int) -> list[Row]:
    """How long a step waits for a save, and a start for a load, with files of the same content."""
    backbone, device = plain.model.backbone, plain.model.device
    with tempfile.TemporaryDirectory() as place:
        settings = dataclasses.replace(settings, output_dir=Path(place))
        state = checkpoint.make_state(
            settings,
            hashes={},
            epoch=0,
            step=0,
            model_state=backbone.state_dict(),
            optimizer_state=plain.optimizer.state_dict(),
            loss_state={},
            class_names=(),
            best_map=None,
        )
        theirs, ours = Path(place, "theirs.pyth"), checkpoint.checkpoint_path(Path(place), 1)
        calls: dict[str, list[float]] = {"save": [], "our save": [], "load": [], "our load": []}
        for _ in range(rounds):
            calls["save"].append(_seconds(partial(torch.save, dict(state), theirs), device))
            with CheckpointWriter() as writer:
                calls["our save"].append(_seconds(partial(writer.save, ours, state), device))
            load = partial(_load, backbone, _read_plainly, theirs)
            calls["load"].append(_seconds(load, device))
            load = partial(_load, backbone, checkpoint.load_checkpoint, ours)
            calls["our load"].append(_seconds(load, device))
    seconds = {name: statistics.median(values) for name, values in calls.items()}
    return [
        _row("checkpoint, s that training waits", seconds["save"], seconds["our save"]),
        _row("checkpoint, s to load the weights", seconds["load"], seconds["our load"]),
    ]


def _load(model: nn.Module, read: Callable[[Path], Any], path: Path) -> None:
    model.load_state_dict(read(path)["model_state"])


def _read_plainly(path: Path) -> Any:
    return torch.load(path, map_location="cpu", weights_only=True)

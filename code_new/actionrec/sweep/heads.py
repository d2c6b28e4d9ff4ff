"""Linear heads on features: the losses alone differ, and one takes seconds."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from actionrec.data.splits import Splits
from actionrec.engine.criterion import build_criterion, own_params
from actionrec.engine.optimizer import build_optimizer, set_learning_rate
from actionrec.engine.output import prepare_output
from actionrec.engine.schedule import learning_rate
from actionrec.engine.scores_file import FILE_NAME, Scores, save_scores
from actionrec.errors import UserError
from actionrec.progress import Progress
from actionrec.randomness import epoch_order, seed_start, seed_step
from actionrec.sweep.features import Features
from actionrec.sweep.runs import Run
from actionrec.sweep.sweep_file import HeadSettings
from actionrec.types import LossSettings, SolverSettings
from losses import Loss

_INIT_STD = 0.01  # of the weights, as SlowFast's FC_INIT_STD


def train_heads(
    runs: Sequence[tuple[Run, LossSettings]],
    features: Features,
    splits: Splits,
    head: HeadSettings,
    device: str,
) -> dict[Run, Scores]:
    """The scores of each, in its folder too; one whose scores are there already is not trained."""
    train, num_classes = splits.train_clips, len(splits.class_names)
    targets, measured = train.targets(num_classes), {}
    criteria: dict[str, Loss] = {}
    for run, loss in Progress(len(runs), "heads", "head").over(runs):
        about = (features.key, head, loss.name, own_params(loss), loss.class_counts, run.seed)
        key = hashlib.sha256(repr(about).encode()).hexdigest()
        run = dataclasses.replace(run, hashes={"head": key})
        scores = run.scores()
        if scores is None:
            if run.loss not in criteria:  # what it warns of is said once, not for each seed
                criteria[run.loss] = build_criterion(
                    loss, train, num_classes=num_classes, max_epoch=head.epochs
                )
            criterion = copy.deepcopy(criteria[run.loss])  # some have a state
            model = train_head(features.train, targets, criterion, head, run.seed, device)
            scores = Scores(
                tuple(splits.val.ids),
                splits.class_names,
                head_scores(model, features.test),
                splits.val.targets(num_classes),
                train.class_counts(num_classes),
                {"loss": loss.name, "seed": run.seed, "hashes": run.hashes},
            )
            prepare_output(run.folder)
            save_scores(run.folder / FILE_NAME, scores)
        measured[run] = scores
    return measured


def solver_settings(head: HeadSettings) -> SolverSettings:
    return SolverSettings(
        base_lr=head.lr,
        max_epoch=head.epochs,
        policy="cosine",
        method=head.method,
        weight_decay=head.weight_decay,
        momentum=head.momentum,
        nesterov=head.momentum > 0,
    )


def train_head(
    features: np.ndarray,
    targets: np.ndarray,
    criterion: Loss,
    head: HeadSettings,
    seed: int,
    device: str = "cpu",
) -> nn.Linear:
    """A linear layer F -> C, from features (K, F) and targets (K, C), both float32.

    The seed decides its initial weights, the order of the clips, and what a loss draws.
    Clips that could not be read (NaN) are left out, and what an epoch has after its last full
    batch. Raises UserError where the loss is not finite.
    """
    read = ~np.isnan(features).any(axis=1)
    inputs = torch.from_numpy(features[read]).to(device)
    wanted = torch.from_numpy(targets[read]).to(device)
    seed_start(seed)
    model = nn.Linear(inputs.shape[1], wanted.shape[1])
    nn.init.normal_(model.weight, std=_INIT_STD)
    nn.init.zeros_(model.bias)
    model = model.to(device)
    criterion = criterion.to(device).train()
    solver = solver_settings(head)
    optimizer = build_optimizer(model, solver)
    batch = min(head.batch, len(inputs))
    steps = len(inputs) // batch
    for epoch in range(head.epochs):
        criterion.set_epoch(epoch)
        order = torch.from_numpy(epoch_order(seed, epoch, len(inputs))).to(device)
        for step, clips in enumerate(order[: steps * batch].split(batch)):
            seed_step(seed, epoch * steps + step)
            set_learning_rate(optimizer, learning_rate(solver, epoch + step / steps))
            loss: Tensor = criterion(model(inputs[clips]), wanted[clips])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        if not torch.isfinite(loss):
            raise UserError(
                f"head.lr: {head.lr:g} is too high: the loss is {loss.item()} after epoch "
                f"{epoch + 1}; lower it"
            )
    return model


@torch.inference_mode()
def head_scores(model: nn.Linear, features: np.ndarray) -> np.ndarray:
    """Scores (K, C) float64 of clips with these features (K, F); NaN stays NaN."""
    logits = model(torch.from_numpy(features).to(model.weight.device))
    return np.asarray(logits.double().sigmoid().cpu())

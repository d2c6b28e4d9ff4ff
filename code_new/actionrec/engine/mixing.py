"""Clips of a batch mixed with one another, and their labels with them: TRAIN.MIX mixup|framestack.

Each clip gets a partner out of the same batch, by a permutation. Draws come from torch's default
generator on the CPU, which every step seeds anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from actionrec.engine import distributed
from actionrec.metrics.average_precision import average_precision

KINDS = ("none", "mixup", "framestack")


def mixup(frames: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """lam x + (1 - lam) x', and the targets likewise, with one lam ~ Beta(alpha, alpha) a batch.

    Zhang et al. 2018, arXiv:1710.09412. frames (N, T, H, W, 3) grey levels of any type, targets
    (N, C). Returns float32 of the same shapes; a label of one clip alone becomes lam or 1 - lam.
    """
    lam = float(torch.distributions.Beta(alpha, alpha).sample())
    partner = torch.randperm(len(frames))
    pixels = frames.float()
    mixed = pixels.mul(lam).add_(pixels[partner.to(frames.device)], alpha=1 - lam)
    return mixed, lam * targets + (1 - lam) * targets[partner.to(targets.device)]


def framestack(frames: Tensor, targets: Tensor, class_ap: Tensor) -> tuple[Tensor, Tensor]:
    """The first beta T frames from the partner, the rest from the clip, each evenly over its own.

    Zhang et al. 2021 (VideoLT), arXiv:2105.02668: beta = a / (a + a'), a and a' the AP of the
    labels of the clip and of its partner, averaged over all classes: what is known well gives more
    of its frames away. 1/2 where both are 0, as in the first epoch. The targets are mixed by beta.
    frames (N, T, H, W, 3), targets (N, C), class_ap (C,). Shapes and the type of the frames stay.
    """
    partner = torch.randperm(len(frames))
    num_frames = frames.shape[1]
    known = (targets * class_ap.to(targets)).mean(dim=1)
    total = known + known[partner]
    beta = torch.where(total < 1e-5, 0.5, known / total.clamp_min(1e-5))
    mixed = torch.empty_like(frames)
    for clip, (other, share) in enumerate(zip(partner.tolist(), beta.tolist(), strict=True)):
        given = int(share * num_frames)
        mixed[clip, :given] = frames[other, _evenly(num_frames, given)]
        mixed[clip, given:] = frames[clip, _evenly(num_frames, num_frames - given)]
    share_of_other = beta[:, None].to(targets)
    return mixed, (1 - share_of_other) * targets + share_of_other * targets[partner]


def _evenly(num_frames: int, wanted: int) -> Tensor:
    """`wanted` frame numbers over the whole clip with both ends, rounded down."""
    return torch.from_numpy(np.linspace(0, num_frames - 1, wanted).astype(np.int64))


class Mixing:
    """The mixing of a run, with what FrameStack knows of the training split.

    class_ap (C,): AP of each class over the clips that the epoch before trained on, with the scores
    they had then; 0 in the first. Both are kept in checkpoints.
    """

    def __init__(self, kind: str, alpha: float, targets: np.ndarray) -> None:
        self.kind, self.alpha = kind, alpha
        self.class_ap = torch.zeros(targets.shape[1])
        self._targets = targets
        self._scores = torch.zeros(0)
        if kind == "framestack":
            self._scores = torch.full(targets.shape, torch.nan)

    def mix(self, frames: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The frames (N, T, H, W, 3) and targets (N, C) to train on."""
        if self.kind == "mixup":
            return mixup(frames, targets, self.alpha)
        if self.kind == "framestack":
            return framestack(frames, targets, self.class_ap)
        return frames, targets

    def note(self, clips: Tensor, logits: Tensor) -> None:
        """Keep the logits (N, C) that the mixed clips (N,) had in training."""
        if self.kind == "framestack":
            self._scores[torch.as_tensor(clips).cpu()] = logits.detach().float().sigmoid().cpu()

    def end_epoch(self) -> None:
        """Measure the classes by what all processes kept, and forget it."""
        if self.kind != "framestack":
            return
        scores = self._scores_of_all().numpy()
        seen = ~np.isnan(scores[:, 0])
        ap = average_precision(scores[seen], self._targets[seen])
        self.class_ap = torch.from_numpy(np.nan_to_num(ap)).float()
        self._scores.fill_(torch.nan)

    def _scores_of_all(self) -> Tensor:
        """The scores that any process kept, NaN for clips that none did."""
        own = (~torch.isnan(self._scores[:, 0])).numpy().astype(np.float32)
        # A clip that a sampler drew twice may have been seen by two processes: the mean of both.
        seen = distributed.sum_array(own)
        scores = distributed.sum_array(np.nan_to_num(self._scores.numpy()))
        with np.errstate(invalid="ignore"):
            return torch.from_numpy(scores / seen[:, None])

    def state_dict(self) -> dict[str, Any]:
        """The same in every process; all of them call it together."""
        if self.kind != "framestack":
            return {}
        return {"class_ap": self.class_ap, "scores": self._scores_of_all()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.kind == "framestack" and state:
            self.class_ap = state["class_ap"].clone()
            self._scores = state["scores"].clone()

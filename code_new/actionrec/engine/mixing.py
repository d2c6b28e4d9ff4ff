"""Clips of a batch mixed with one another, and their labels with them: TRAIN.MIX mixup|framestack.

Each clip gets a partner out of the same batch, by a permutation. Draws come from torch's default
generator on the CPU, which every step seeds anew.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from actionrec import launched
from actionrec.engine import distributed
from actionrec.metrics.average_precision import average_precision


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
        of_other, own = _evenly(num_frames, given), _evenly(num_frames, num_frames - given)
        mixed[clip, :given] = frames[other, of_other.to(frames.device)]
        mixed[clip, given:] = frames[clip, own.to(frames.device)]
    share_of_other = beta[:, None].to(targets)
    return mixed, (1 - share_of_other) * targets + share_of_other * targets[partner]


def _evenly(num_frames: int, wanted: int) -> Tensor:
    """`wanted` frame numbers over the whole clip with both ends, rounded down."""
    return torch.from_numpy(np.linspace(0, num_frames - 1, wanted).astype(np.int64))


class Mixing:
    """The mixing of a run, mixup or framestack, with what FrameStack knows of the training split.

    class_ap (C,): AP of each class over the clips that the epoch before trained on, with the scores
    they had then (the mean, where one was drawn several times); 0 in the first. It is kept in
    checkpoints, and so are the scores so far.
    """

    def __init__(self, kind: str, alpha: float, targets: np.ndarray) -> None:
        self.kind, self.alpha = kind, alpha
        self.class_ap = torch.zeros(targets.shape[1])
        self._targets = targets
        # Of this process: the sum of the scores of each clip, and in the last column how many.
        self._sums = np.zeros((len(targets), targets.shape[1] + 1), dtype=np.float32)

    def mix(self, frames: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """The frames (N, T, H, W, 3) and targets (N, C) to train on."""
        if self.kind == "mixup":
            return mixup(frames, targets, self.alpha)
        return framestack(frames, targets, self.class_ap)

    def note(self, clips: Tensor, logits: Tensor) -> None:
        """Keep the scores of logits (N, C) that the mixed clips (N,) had in training."""
        if self.kind == "framestack":
            scores = logits.detach().float().sigmoid().cpu().numpy()
            once = np.ones((len(scores), 1), dtype=np.float32)
            np.add.at(self._sums, torch.as_tensor(clips).cpu().numpy(), np.hstack([scores, once]))

    def end_epoch(self) -> None:
        """Measure the classes by what all processes kept, and forget it."""
        if self.kind == "framestack":
            sums = distributed.sum_array(self._sums)
            seen = sums[:, -1] > 0
            scores = sums[seen, :-1] / sums[seen, -1:]
            ap = average_precision(scores, self._targets[seen])
            self.class_ap = torch.from_numpy(np.nan_to_num(ap)).float()
            self._sums[:] = 0

    def state_dict(self) -> dict[str, Any]:
        """That of all processes, which call it together."""
        if self.kind != "framestack":
            return {}
        return {
            "class_ap": self.class_ap,
            "sums": torch.from_numpy(distributed.sum_array(self._sums).copy()),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if self.kind == "framestack" and state:
            self.class_ap = state["class_ap"].clone()
            if launched.is_main():  # the sums are of all processes: each clip must count once
                self._sums[:] = state["sums"].numpy()

"""The slope of each loss at each logit, for a frequent and a rare class: a figure.

    python -m actionrec.report.loss_gradients docs/figures/loss_gradients.png

A clip has three classes: one whose logit varies, one that is its label besides, and one that it has
not; their logits are 0.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import losses
from actionrec.atomic_file import atomic_file

NUM_CLIPS, OTHER = 24_004, 511
CLASSES = {"head": 6_941, "tail": 20}  # training clips; of Animal Kingdom's most frequent class
LOGITS = np.linspace(-6, 6, 121)
LEFT_OUT = ("bce", "bce_logit", "cross_entropy", "soft_cross_entropy")  # SlowFast's own names
DASHES: dict[str, Any] = {"head": "-", "tail": "--"}
_DRAWS = 2000  # of EQL's beta, of which the mean is shown


def slopes(name: str, count: int, positive: bool) -> np.ndarray:
    """d(loss) / d(logit) at LOGITS of a class with `count` training clips, for the sum over terms.

    LDAM is shown after its re-weighting has begun, EQLv2 with a rare class that has had a third of
    a frequent one's share of positive gradients.
    """
    counts = [count, OTHER, OTHER]
    loss = losses.build(name, class_counts=counts, num_clips=NUM_CLIPS, reduction="none").eval()
    loss.set_epoch(10**6)
    if isinstance(loss, losses.LOSSES["EQLv2"]):
        ratio = 0.9 if count == CLASSES["head"] else 0.3
        state = {"positive": torch.tensor([ratio, 0.8, 0.8]), "negative": torch.ones(3)}
        loss.load_state_dict(state)
    clips = torch.zeros(len(LOGITS), 3)
    clips[:, 0] = torch.from_numpy(LOGITS)
    targets = torch.tensor([[float(positive), 1.0, 0.0]])
    total = np.zeros(len(LOGITS))
    draws = _DRAWS if name == "EQL" else 1
    torch.manual_seed(0)
    for _ in range(draws):
        # two_way looks at the whole batch, so it gets one clip at a time.
        batches = clips.split(1 if name == "two_way" else len(clips))
        total += np.concatenate([_slopes_of(loss, batch, targets) for batch in batches])
    return total / draws


def _slopes_of(loss: losses.Loss, clips: Tensor, targets: Tensor) -> np.ndarray:
    logits = clips.clone().requires_grad_()
    terms = loss(logits, targets.expand_as(logits))
    (gradient,) = torch.autograd.grad(terms.sum(), logits)
    return gradient[:, 0].numpy()


def draw(path: Path) -> None:
    """Write the figure as a PNG. Raises OSError."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    names = [name for name in losses.LOSSES if name not in LEFT_OUT]
    figure = Figure(figsize=(10, 2.1 * -(-len(names) // 4) + 0.5), layout="constrained")
    panels = list(figure.subplots(-(-len(names) // 4), 4).flat)
    for name, panel in zip(names, panels, strict=False):
        for which, dashes in DASHES.items():
            for positive, colour in ((True, "#0072B2"), (False, "#D55E00")):
                slope = slopes(name, CLASSES[which], positive)
                panel.plot(LOGITS, slope, dashes, color=colour, linewidth=1.4)
        panel.axhline(0, color="black", linewidth=0.6)
        panel.set_title(name, fontsize=10)
        panel.tick_params(labelsize=8)
        panel.set_ylim(*np.clip(panel.get_ylim(), -8, 8))  # weighted_bce is steeper by far
        panel.set_xlabel("logit z", fontsize=8)
    for panel in panels[len(names) :]:
        panel.axis("off")
    lines = [
        Line2D([], [], color=colour, linestyle=dashes, label=f"{which}, {said}")
        for which, dashes in DASHES.items()
        for said, colour in (("label", "#0072B2"), ("not a label", "#D55E00"))
    ]
    figure.legend(handles=lines, loc="outside lower center", ncols=4, frameon=False)
    figure.supylabel("slope of the loss: below 0 the logit rises", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=110)


if __name__ == "__main__":
    draw(Path(sys.argv[1]))

"""What the validations so far decide: when the learning rate falls, and when training stops.

Nothing but the history is needed, so a resumed run goes on from the one in its checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

# (epochs trained, mAP) of each validation in order. One without a mAP (NaN) is no improvement.
History = Sequence[tuple[float, float]]


def extended(history: History, epochs_trained: float, mean_ap: float) -> list[tuple[float, float]]:
    """`history` and this validation, in the place of one of the same epoch before a resume."""
    before = [entry for entry in history if entry[0] < epochs_trained]
    return [*before, (epochs_trained, mean_ap)]


def num_reductions(history: History, patience: int) -> int:
    """How often `patience` validations in a row brought no better mAP than the best before them.

    After each reduction counting starts anew; the best mAP stays. PyTorch's ReduceLROnPlateau does
    the same with mode="max", threshold=0 and a patience of one less.
    """
    best, since_best, reductions = -math.inf, 0, 0
    for _, mean_ap in history:
        if mean_ap > best:
            best, since_best = mean_ap, 0
            continue
        since_best += 1
        if since_best == patience:
            since_best, reductions = 0, reductions + 1
    return reductions


def should_stop(history: History, patience: int) -> bool:
    """Whether the last `patience` validations brought no better mAP. With patience 0, never."""
    maps = [-math.inf if math.isnan(mean_ap) else mean_ap for _, mean_ap in history]
    return 0 < patience < len(maps) and max(maps[-patience:]) <= max(maps[:-patience])

"""From the number of training clips of each class to a weight for each class."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from losses.base import number

Counts = Sequence[float] | Tensor  # numpy arrays too


def checked_counts(counts: Counts | None) -> Tensor:
    """`counts` as a (C,) float64 tensor, 0 taken as 1: a class without a clip is as rare as can be.

    Raises ValueError when they are missing, empty, negative or not finite.
    """
    if counts is None:
        raise ValueError(
            "the number of training clips of each class is missing; give class_counts= "
            "(in a configuration LOSS.CLASS_COUNTS, or the training annotation is counted)"
        )
    values = torch.as_tensor(counts, dtype=torch.float64).flatten()
    if values.numel() == 0:
        raise ValueError("class_counts is empty; it has one number for each class")
    bad = torch.nonzero(~(torch.isfinite(values) & (values >= 0))).flatten().tolist()
    if bad:
        raise ValueError(
            f"class_counts: class {bad[0]} has {values[bad[0]].item()}; counts are 0 or more"
        )
    return values.clamp_min(1)


def frequencies(counts: Counts | None, num_clips: int | None) -> Tensor:
    """n_c / N, (C,) float64, kept between 1 / 2N and 1 - 1 / 2N: a class of all clips has odds too.

    num_clips: N; None: the sum of the counts. Raises ValueError as `checked_counts`.
    """
    values = checked_counts(counts)
    if num_clips is None:
        total = torch.as_tensor(counts, dtype=torch.float64).sum().clamp_min(1)
    else:
        total = torch.tensor(number("num_clips", num_clips, 1), dtype=torch.float64)
    margin = 1 / (2 * total.item())
    return (values / total).clamp(margin, 1 - margin)


def class_balanced_weights(counts: Counts, beta: float) -> Tensor:
    """(1 - beta) / (1 - beta^n_c), scaled to sum to C. Cui et al. 2019, arXiv:1901.05555.

    counts (C,); beta in [0, 1): 0 weighs all classes the same, towards 1 they become 1 / n_c.
    Returns (C,) float64.
    """
    values = checked_counts(counts)
    if number("beta", beta, 0, 1) == 1:
        raise ValueError("beta is 1; it must be less than 1")
    # 1 - beta^n without cancellation; the numerator is the same for all classes and drops out.
    log_beta = math.log(beta) if beta > 0 else -math.inf
    weights = 1 / -torch.expm1(values * log_beta)
    return weights * (len(weights) / weights.sum())

"""Losses for several labels a clip and a long tail: logits, targets (N, C) -> scalar or (N, C).

    criterion = losses.build("LDAM", class_counts=counts, max_m=0.5)
    criterion.set_epoch(epoch)
    loss = criterion(logits, targets)

A new loss is a file with a subclass of `losses.base.Loss`; here, its import and a line in LOSSES.
Needs nothing but torch.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import torch

from losses.asl import ASL
from losses.balanced import BalancedBCE, ClassBalancedBCE, ClassBalancedFocal, WeightedBCE
from losses.base import Loss
from losses.bce import BCE, BCEOfProbabilities
from losses.cross_entropy import CrossEntropy, SoftCrossEntropy
from losses.deferred import Deferred, DeferredWeights
from losses.distribution_balanced import DistributionBalanced, DistributionBalancedFocal
from losses.eql import EQL
from losses.eqlv2 import EQLv2
from losses.focal import Focal
from losses.ldam import LDAM
from losses.logit_adjustment import LogitAdjustedBCE
from losses.released import ReleasedEQL, ReleasedFocal, ReleasedLDAM
from losses.run import set_run_counts
from losses.smoothed import SmoothedBCE
from losses.two_way import TwoWay
from losses.weighting import Counts, class_balanced_weights

__all__ = [
    "LOSSES",
    "RELEASED",
    "Loss",
    "UnknownLoss",
    "build",
    "check",
    "class_balanced_weights",
    "of_variant",
    "parameters",
    "set_run_counts",
]

LOSSES: dict[str, type[Loss]] = {
    "bce_loss": BCE,
    "focal_loss": Focal,
    "LDAM": LDAM,
    "EQL": EQL,
    "EQLv2": EQLv2,
    "weighted_bce": WeightedBCE,
    "balanced_bce": BalancedBCE,
    "smoothed_bce": SmoothedBCE,
    "logit_adjusted_bce": LogitAdjustedBCE,
    "CB_bce": ClassBalancedBCE,
    "CB_focal": ClassBalancedFocal,
    "DB": DistributionBalanced,
    "DB_focal": DistributionBalancedFocal,
    "ASL": ASL,
    "two_way": TwoWay,
    # SlowFast's own names
    "bce": BCEOfProbabilities,
    "bce_logit": BCE,
    "cross_entropy": CrossEntropy,
    "soft_cross_entropy": SoftCrossEntropy,
}

# variant="released": the arithmetic that Animal Kingdom released, where it differs from the papers.
RELEASED: dict[str, type[Loss]] = {
    "bce_loss": BCE,
    "focal_loss": ReleasedFocal,
    "LDAM": ReleasedLDAM,
    "EQL": ReleasedEQL,
}

_VARIANTS = ("paper", "released")

# Deferred re-weighting, for every loss that takes class weights; LDAM has it itself.
_DRW: dict[str, Any] = {"drw_epoch": None, "drw_beta": 0.9999}

# Constructor keywords that the run gives, and no configuration.
_COMMON = ("class_counts", "num_clips", "generator", "reduction")


class UnknownLoss(KeyError):
    """No loss has this name."""

    def __str__(self) -> str:  # KeyError would show its text in quotes
        return str(self.args[0])


def build(
    name: str,
    *,
    class_counts: Counts | None = None,
    num_classes: int | None = None,
    num_clips: int | None = None,
    reduction: str = "mean",
    generator: torch.Generator | None = None,
    variant: str = "paper",
    **params: Any,
) -> Loss:
    """The loss called `name` in LOSSES, with its own parameters `params`.

    class_counts (C,) and num_clips are those of the training split; a loss without need of them
    ignores them. num_clips None: EQL takes the sum of the counts. num_classes: C of the model, to
    check the counts against. variant: paper or released. drw_epoch, drw_beta: of any loss that
    takes class weights, see losses.deferred; without drw_epoch there is none. Raises UnknownLoss,
    TypeError for a parameter that the loss does not have, ValueError for a bad value.
    """
    known = parameters(name, variant)
    _refuse_unknown(name, params, known)
    drw = {k: params.pop(k, v) for k, v in _DRW.items()} if _is_deferrable(name, variant) else {}
    if class_counts is not None and num_classes is not None and len(class_counts) != num_classes:
        raise ValueError(
            f"class_counts has {len(class_counts)} classes, the model {num_classes}; "
            "check MODEL.NUM_CLASSES"
        )
    cls = _find(name, variant)
    common = {"class_counts": class_counts, "num_clips": num_clips, "generator": generator}
    accepted = _keywords(cls)
    try:
        loss = cls(
            reduction=reduction, **{k: v for k, v in common.items() if k in accepted}, **params
        )
        if drw.get("drw_epoch") is None:
            return loss
        return Deferred(loss, class_counts=class_counts, **drw)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def check(name: str, params: Mapping[str, Any]) -> None:
    """Raise what `build` would for this name and these parameters; no counts are needed for it."""
    _refuse_unknown(name, params, parameters(name, params.get("variant", "paper")))
    build(name, class_counts=[1], num_clips=1, **params)


def parameters(name: str, variant: str = "paper") -> dict[str, Any]:
    """The parameters of a loss and their defaults; `variant` is one where there is a choice."""
    own = {k: v for k, v in _keywords(_find(name, variant)).items() if k not in _COMMON}
    if _is_deferrable(name, variant):
        own |= _DRW
    return {**own, "variant": "paper"} if name in RELEASED else own


def of_variant(name: str, params: Mapping[str, Any], variant: str) -> dict[str, Any]:
    """`params` without those that only another variant of the loss has.

    So one set of parameters serves each variant. Nothing is refused here: an unknown parameter,
    name or variant is left for `check`.
    """
    if name not in RELEASED or variant not in _VARIANTS:
        return dict(params)
    known = parameters(name, variant)
    of_any = {param for each in _VARIANTS for param in parameters(name, each)}
    return {k: value for k, value in params.items() if k in known or k not in of_any}


def _find(name: str, variant: str) -> type[Loss]:
    if name not in LOSSES:
        raise UnknownLoss(
            f"unknown loss {name!r}; known: {', '.join(_nearest_first(name, LOSSES))}"
        )
    if variant == "paper":
        return LOSSES[name]
    if variant == "released" and name in RELEASED:
        return RELEASED[name]
    variants = "paper or released" if name in RELEASED else "paper only"
    raise ValueError(f"{name}: variant is {variant!r}; there is {variants}")


def _keywords(cls: type[Loss]) -> dict[str, Any]:
    """The constructor's keywords and their defaults, with those that it hands on (`**params`)."""
    found: dict[str, Any] = {}
    for base in cls.__mro__:
        accepted = inspect.signature(base.__init__).parameters.values()  # type: ignore[misc]
        found = {p.name: p.default for p in accepted if p.kind is p.KEYWORD_ONLY} | found
        if all(p.kind is not p.VAR_KEYWORD for p in accepted):
            break
    return found


def _is_deferrable(name: str, variant: str) -> bool:
    cls = _find(name, variant)
    is_own = issubclass(cls, DeferredWeights)
    return variant == "paper" and cls.takes_class_weights and not is_own


def _refuse_unknown(name: str, params: Mapping[str, Any], known: Mapping[str, Any]) -> None:
    for param in params:
        if param not in known:
            listed = ", ".join(f"{k} {known[k]!r}" for k in _nearest_first(param, known))
            its = f"its parameters, with defaults: {listed}" if known else "it has none"
            raise TypeError(f"{name} has no parameter {param!r}; {its}")


def _nearest_first(name: str, known: Mapping[str, Any]) -> list[str]:
    folded = {k.lower(): k for k in known}
    close = [folded[k] for k in get_close_matches(name.lower(), folded, n=3, cutoff=0.4)]
    return close + sorted(k for k in known if k not in close)

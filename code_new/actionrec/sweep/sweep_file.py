"""What a sweep file says, checked: models x losses x seeds, and how heads on features are trained.

models: {demo: configs/AK/DEMO.yaml}
losses: {bce_loss: , LDAM: {drw_epoch: 40}, focal_g1: {loss: focal_loss, gamma: 1}}
seeds: [0, 1, 2]
baseline: bce_loss
output: results/sweep
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from actionrec.engine.optimizer import METHODS
from actionrec.errors import UserError, nearest
from actionrec.types import LossSettings

# They are the names of folders and stand in tables; no spreadsheet takes one for a formula.
_LABEL = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")
OF_THE_SWEEP = "MODEL.LOSS_FUNC RNG_SEED OUTPUT_DIR TEST.SAVE_RESULTS_PATH".split()


@dataclass(frozen=True)
class HeadSettings:
    """How a linear head is trained on features: a half cosine from `lr` to 0."""

    epochs: int = 60
    batch: int = 8
    lr: float = 0.002
    method: str = "adamw"  # sgd | adam | adamw
    weight_decay: float = 0.05
    momentum: float = 0.9  # of sgd


@dataclass(frozen=True)
class Sweep:
    """models and losses by label; weights: of a model's backbone, for features."""

    models: dict[str, Path]
    losses: dict[str, LossSettings]
    seeds: tuple[int, ...]
    baseline: str
    output: Path
    overrides: dict[str, str] = field(default_factory=dict)
    weights: dict[str, Path] = field(default_factory=dict)
    head: HeadSettings = field(default_factory=HeadSettings)


_REQUIRED = ("models", "losses", "seeds", "output")


def parse_sweep(content: dict[str, Any], path: Path) -> Sweep:
    """The content of the YAML file `path`. Raises UserError with a line for each mistake in it.

    Whether its losses and configurations exist is not looked at here.
    """
    problems: list[str] = []
    known = [f.name for f in fields(Sweep)]
    problems += [_unknown(key, known) for key in content if key not in known]
    problems += [f"{key}: is missing" for key in _REQUIRED if content.get(key) is None]
    models = _models(content.get("models"), problems)
    losses = _losses(content.get("losses"), problems)
    baseline = str(content.get("baseline") or next(iter(losses), ""))
    if losses and baseline not in losses:
        listed = ", ".join(nearest(baseline, list(losses)))
        problems.append(f"baseline: {baseline!r} is none of the losses: {listed}")
    sweep = Sweep(
        models=models,
        losses=losses,
        seeds=_seeds(content.get("seeds"), problems),
        baseline=baseline,
        output=Path(str(content.get("output") or "")),
        overrides=_overrides(content.get("overrides"), problems),
        weights=_weights(content.get("weights"), models, problems),
        head=_head(content.get("head"), problems),
    )
    if problems:
        raise UserError("\n".join(f"{path}: {problem}" for problem in problems))
    return sweep


def _unknown(key: Any, known: list[str], section: str = "") -> str:
    return f"{section}{key}: unknown key; known: {', '.join(nearest(str(key), known))}"


def _labelled(given: Any, name: str, problems: list[str]) -> Iterator[tuple[str, Any]]:
    """(label, value) of a mapping, or (item, None) of a list; labels that cannot be are told."""
    pairs = list(given.items()) if isinstance(given, dict) else []
    if isinstance(given, list):
        pairs = [(item, None) for item in given]
    elif given is not None and not isinstance(given, dict):
        problems.append(f"{name}: {given!r} is neither a list nor `label: ...` lines")
    seen: set[str] = set()
    for label, value in pairs:
        if not isinstance(label, str) or not _LABEL.fullmatch(label):
            problems.append(f"{name}: {label!r} is no label; letters, digits, `_`, `.` and `-`")
        elif label in seen:
            problems.append(f"{name}: {label!r} stands there twice")
        else:
            seen.add(label)
            yield label, value


def _models(given: Any, problems: list[str]) -> dict[str, Path]:
    if isinstance(given, list):
        stems = {Path(str(config)).stem: config for config in given}
        if len(stems) < len(given):
            problems.append("models: two files have one name; write `label: file` lines")
        given = stems
    models = {}
    for label, config in _labelled(given, "models", problems):
        if isinstance(config, str):
            models[label] = Path(config)
        else:
            problems.append(f"models.{label}: {config!r} is no configuration file")
    return models


def _losses(given: Any, problems: list[str]) -> dict[str, LossSettings]:
    losses = {}
    for label, params in _labelled(given, "losses", problems):
        if params is not None and not isinstance(params, dict):
            problems.append(f"losses.{label}: {params!r} is no `parameter: value` section")
            continue
        params = dict(params or {})
        losses[label] = LossSettings(str(params.pop("loss", label)), params)
    return losses


def _seeds(given: Any, problems: list[str]) -> tuple[int, ...]:
    if given is None:
        return ()
    seeds = given if isinstance(given, list) else []
    if not seeds or not all(type(s) is int and 0 <= s < 2**32 for s in seeds):
        problems.append(f"seeds: {given!r} is no list of whole numbers from 0 to {2**32 - 1}")
    elif len(set(seeds)) < len(seeds):
        problems.append(f"seeds: {given!r} has one twice")
    return tuple(seeds)


def _overrides(given: Any, problems: list[str]) -> dict[str, str]:
    if not isinstance(given or {}, dict):
        problems.append(f"overrides: {given!r} is no `KEY: value` section")
        return {}
    overrides = {str(key): str(value) for key, value in (given or {}).items()}
    problems += [
        f"overrides.{key}: is set by the sweep itself; take it out"
        for key in overrides
        if key in OF_THE_SWEEP
    ]
    return overrides


def _weights(given: Any, models: dict[str, Path], problems: list[str]) -> dict[str, Path]:
    if given is None:
        return {}
    if isinstance(given, str):
        return dict.fromkeys(models, Path(given))
    if not isinstance(given, dict) or not all(isinstance(p, str) for p in given.values()):
        problems.append(f"weights: {given!r} is neither a checkpoint nor `model: checkpoint` lines")
        return {}
    problems += [_unknown(name, list(models), "weights.") for name in given if name not in models]
    return {str(name): Path(path) for name, path in given.items()}


def _head(given: Any, problems: list[str]) -> HeadSettings:
    defaults = {f.name: f.default for f in fields(HeadSettings)}
    if not isinstance(given or {}, dict):
        problems.append(f"head: {given!r} is no `key: value` section")
        return HeadSettings()
    values: dict[str, Any] = {}
    for key, value in (given or {}).items():
        if key not in defaults:
            problems.append(_unknown(key, list(defaults), "head."))
            continue
        if isinstance(defaults[key], float):
            with suppress(TypeError, ValueError):
                value = float(value)  # YAML reads 1e-3 as text
        if problem := _wrong_in_head(key, value, defaults[key]):
            problems.append(f"head.{key}: {value!r} {problem}")
        values[key] = value
    return HeadSettings(**values)


def _wrong_in_head(key: str, value: Any, default: Any) -> str:
    if isinstance(default, str):
        return "" if value in METHODS else f"is not one of {', '.join(METHODS)}"
    if isinstance(default, int):
        return "" if type(value) is int and value > 0 else "is no whole number above 0"
    if not isinstance(value, float) or not 0 <= value < math.inf:
        return "is no number of at least 0"
    return "would train nothing" if key == "lr" and value == 0 else ""

"""Weights of another run as the start of this one; a head of another size starts anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from actionrec.errors import UserError

_SHOWN = 5  # names in one line of the report

Shape = tuple[int, ...]


@dataclass(frozen=True)
class LoadReport:
    """What became of each weight, by its name in the model; `unexpected`: by that in the file."""

    loaded: tuple[str, ...]
    inflated: tuple[str, ...]  # among the loaded: 2D in the file, 3D in the model
    dropped: tuple[tuple[str, Shape, Shape], ...]  # name, shape in the file, shape in the model
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]

    def lines(self) -> list[str]:
        """The report for the log, in few lines."""
        lines = [f"initial weights: {len(self.loaded)} tensors loaded"]
        if self.inflated:
            lines.append(f"inflated from 2D to 3D: {_some(self.inflated)}")
        for name, theirs, ours in self.dropped:
            lines.append(
                f"not loaded, starts anew: {name} is {theirs} in the file, {ours} in the model"
            )
        if self.missing:
            lines.append(f"not in the file, start anew: {_some(self.missing)}")
        if self.unexpected:
            lines.append(f"in the file only, ignored: {_some(self.unexpected)}")
        return lines


def load_initial_weights(
    model: nn.Module,
    state_dict: Mapping[str, Tensor],
    *,
    clear_name_pattern: tuple[str, ...] = (),
    inflate: bool = False,
    leave_out: str = "",
) -> LoadReport:
    """Copy into `model` what fits by name and shape; the rest keeps its values and is reported.

    Each text of `clear_name_pattern` is taken out of the file's names, in order. With `inflate`,
    convolutions (O, I, H, W) and (O, I, 1, H, W) become (O, I, T, H, W): repeated T times and
    divided by T. Carreira and Zisserman 2017, arXiv:1705.07750, section 2.4. Weights of the layer
    `leave_out` are not taken. Raises UserError, with the model unchanged, where nothing fits, where
    a value is not finite, and where an entry is no tensor or not of the model's kind (floats,
    integers).
    """
    theirs = {_cleared(name, clear_name_pattern): tensor for name, tensor in state_dict.items()}
    if leave_out:
        theirs = {n: w for n, w in theirs.items() if not n.startswith(f"{leave_out}.")}
    ours = model.state_dict()
    matched: dict[str, Tensor] = {}
    inflated, dropped = [], []
    for name in [name for name in theirs if name in ours]:
        tensor, target = theirs[name], ours[name]
        _check(name, tensor, target)
        if inflate and _is_inflatable(tensor, target):
            depth, (height, width) = target.shape[2], target.shape[3:]
            flat = tensor.reshape(*target.shape[:2], 1, height, width)
            tensor = flat.repeat(1, 1, depth, 1, 1) / depth
            inflated.append(name)
        if tensor.shape == target.shape:
            matched[name] = tensor
        else:
            dropped.append((name, tuple(tensor.shape), tuple(target.shape)))
    if not any(name in matched for name, _ in model.named_parameters()):
        raise UserError(_nothing_fits(theirs, ours))
    model.load_state_dict(matched, strict=False)
    return LoadReport(
        loaded=tuple(matched),
        inflated=tuple(inflated),
        dropped=tuple(dropped),
        missing=tuple(name for name in ours if name not in theirs and not _is_counter(name)),
        unexpected=tuple(name for name in theirs if name not in ours),
    )


def load_exactly(model: nn.Module, state_dict: Mapping[str, Tensor], path: Path) -> None:
    """Copy into `model` all weights of its own checkpoint at `path`, for a test or a prediction.

    Raises UserError with the differences, the model unchanged, unless every name and shape agrees.
    """
    ours = model.state_dict()
    missing = tuple(name for name in ours if name not in state_dict and not _is_counter(name))
    unexpected = tuple(name for name in state_dict if name not in ours)
    differences = [f"not in the file: {_some(missing)}"] * bool(missing)
    differences += [f"not in the model: {_some(unexpected)}"] * bool(unexpected)
    for name in [name for name in state_dict if name in ours]:
        tensor, target = state_dict[name], ours[name]
        _check(name, tensor, target)
        if tensor.shape != target.shape:
            shapes = f"{tuple(tensor.shape)} in the file, {tuple(target.shape)} in the model"
            differences.append(f"{name} is {shapes}")
    if differences:
        raise UserError(
            f"{path}: was saved by another model; {'; '.join(differences[:_SHOWN])}. Use the "
            "configuration that it was trained with"
        )
    model.load_state_dict(state_dict, strict=False)


def _is_counter(name: str) -> bool:
    """Counters of batches came with torch 0.4.1; older files lack them and nothing reads them."""
    return name.endswith("num_batches_tracked")


def _cleared(name: str, patterns: tuple[str, ...]) -> str:
    for pattern in patterns:
        name = name.replace(pattern, "")
    return name


def _check(name: str, tensor: Tensor, target: Tensor) -> None:
    if not isinstance(tensor, Tensor):
        raise UserError(
            f"weights: {name} is a {type(tensor).__name__}, not a tensor; give another file"
        )
    if tensor.is_floating_point() != target.is_floating_point():
        raise UserError(
            f"weights: {name} is {tensor.dtype} in the file, {target.dtype} in the model; "
            "give another file"
        )
    if tensor.is_floating_point() and not torch.isfinite(tensor).all():
        raise UserError(
            f"weights: {name} holds NaN or infinity; that run had failed, give an earlier "
            "checkpoint"
        )


def _is_inflatable(tensor: Tensor, target: Tensor) -> bool:
    """Whether a 2D kernel (O, I, H, W), or (O, I, 1, H, W), belongs in a 3D (O, I, T, H, W)."""
    if target.ndim != 5 or tensor.shape == target.shape:
        return False
    channels, space = target.shape[:2], target.shape[3:]
    return tensor.shape in (channels + space, channels + (1,) + space)


def _nothing_fits(theirs: Mapping[str, Tensor], ours: Mapping[str, Tensor]) -> str:
    return (
        f"weights: none of the file's {len(theirs)} tensors fits the model. The file has "
        f"{_some(tuple(theirs), 2)}; the model has {_some(tuple(ours), 2)}. Give a file of the "
        "same MODEL.ARCH; for a prefix in its names set TRAIN.CHECKPOINT_CLEAR_NAME_PATTERN, for a "
        "2D model TRAIN.CHECKPOINT_INFLATE True"
    )


def _some(names: tuple[str, ...], shown: int = _SHOWN) -> str:
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more

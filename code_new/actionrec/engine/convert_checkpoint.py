"""Convert a checkpoint of another program, once, into weights that load with weights_only=True."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from actionrec.engine import checkpoint_file
from actionrec.engine.caffe2_pickle import read_blobs
from actionrec.engine.checkpoint import load_checkpoint
from actionrec.errors import SecurityError, UserError

MAX_FILE_BYTES = 2 << 30  # SlowFast R50 with its momentum has about 0.3 GB

Rename = Callable[[str], str]  # from Caffe2's name of a parameter to SlowFast's

_NO_PARAMETERS = ("momentum", "lr", "model_iter")
_PARAMETER = re.compile(
    r"(s[1-5]|s[1-5]_fuse|head)(\.\w+)+\.(weight|bias|running_mean|running_var)"
    r"|head\.projection\.(weight|bias)"
)
_STEM = "s1.pathway0_stem.conv.weight"
_FUSION = "s1_fuse.conv_f2s.weight"
_DEPTHS = {6: 50, 23: 101}  # by the number of blocks in s4
_LONGEST_NAME = 200
_SHOWN = 5  # names in one line


@dataclass(frozen=True)
class Converted:
    """The weights under SlowFast's names, and what became of the rest of the file."""

    program: str  # that wrote the file
    model_state: dict[str, Tensor]
    left_out: Counter[str] = field(default_factory=Counter)  # how many, by what they are
    unknown: tuple[str, ...] = ()  # names in the file that are none of SlowFast's models

    def lines(self, source: Path, out: Path) -> list[str]:
        """A summary to print."""
        keys = " ".join(f"{key} {value}" for key, value in model_keys(self.model_state).items())
        said = [f"{source}: {self.program}{', a model of ' if keys else ''}{keys}"]
        said.append(f"{out}: {len(self.model_state)} tensors")
        if self.left_out:
            kinds = [f"{n} {kind}" if n > 1 else kind for kind, n in self.left_out.items()]
            said.append(f"left out: {', '.join(sorted(kinds))}")
        if self.unknown:
            said.append(f"NOT converted, no names of SlowFast's models: {_some(self.unknown)}")
        return said


def convert(source: Path, out: Path, rename: Rename, *, overwrite: bool = False) -> Converted:
    """Write the weights of `source` to `out`, as float32, sealed, without optimizer and epoch.

    `source` is told by its content: a Caffe2 checkpoint of SlowFast's model zoo, or what torch.save
    wrote. Raises UserError, or SecurityError for what could do harm; then nothing is written.
    """
    try:
        _check_paths(source, out, overwrite)
        content = source.read_bytes()
    except OSError as error:
        raise UserError(f"{source}: cannot be read ({error.strerror}); check the path") from error
    if checkpoint_file.is_torch(content):
        converted = _convert_torch(source, len(content))
    elif content.startswith(b"\x80"):
        converted = _convert_caffe2(source, content, rename)
    elif content.startswith(b"\x1f\x8b"):
        raise UserError(f"{source}: is a gzip archive; unpack it and give a file that was in it")
    else:
        raise UserError(
            f"{source}: is neither a Caffe2 nor a PyTorch checkpoint; was it downloaded whole?"
        )
    for name, tensor in converted.model_state.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UserError(f"{source}: {name} holds NaN or infinity; give another file")
    origin = {"name": source.name, "sha256": hashlib.sha256(content).hexdigest()}
    checkpoint_file.write(out, {"model_state": converted.model_state, "source": origin})
    return converted


def _check_paths(source: Path, out: Path, overwrite: bool) -> None:
    if not source.exists():
        raise UserError(f"{source}: no such file; check the path")
    if not source.is_file():
        raise UserError(f"{source}: is not a file; give the path of a checkpoint")
    if source.stat().st_size > MAX_FILE_BYTES:
        raise SecurityError(f"{source}: refused, larger than {MAX_FILE_BYTES >> 30} GB")
    if out.suffix != ".pyth":
        raise UserError(f"{out}: does not end in .pyth; give the name of the file to write")
    if not out.parent.is_dir():
        raise UserError(f"{out}: no such folder: {out.parent}; make it first")
    if out.exists() and (out.is_dir() or out.samefile(source)):
        raise UserError(f"{out}: would be written, but is the input or a folder; give another name")
    if out.exists() and not overwrite:
        raise UserError(f"{out}: is there already; give another name, or --overwrite")


def _convert_caffe2(path: Path, content: bytes, rename: Rename) -> Converted:
    arrays: dict[str, np.ndarray] = {}
    left_out: Counter[str] = Counter()
    unknown = []
    for name, blob in read_blobs(path, content).items():
        kind = "momentum" if name.endswith("_momentum") else name
        # The time that the patterns of `rename` take grows with the square of the length.
        new_name = rename(name) if len(name) <= _LONGEST_NAME else ""
        if kind in _NO_PARAMETERS:
            left_out[kind] += 1
        elif not isinstance(blob, np.ndarray) or not _PARAMETER.fullmatch(new_name):
            unknown.append(name)
        elif new_name in arrays:
            raise UserError(f"{path}: two blobs would be {new_name}, one is {_some([name])}")
        else:
            arrays[new_name] = blob
    if _STEM not in arrays:
        raise UserError(
            f"{path}: a Caffe2 checkpoint, but of none of SlowFast, C2D, I3D and Slow, which have "
            f"conv1_w; it has {_some([*arrays, *unknown]) or 'nothing'}; give another file"
        )
    _check_size(path, sum(blob.nbytes for blob in arrays.values()), len(content))
    with np.errstate(over="ignore"):  # becomes infinite, which is refused later
        state = {k: torch.from_numpy(v.astype(np.float32, order="C")) for k, v in arrays.items()}
    # Caffe2 counted no batches, but SlowFast's package loads a checkpoint only if it has them all.
    norms = [name.removesuffix("running_mean") for name in state if name.endswith("running_mean")]
    state |= {f"{norm}num_batches_tracked": torch.tensor(0) for norm in norms}
    return Converted("Caffe2", state, left_out, tuple(unknown))


def _convert_torch(path: Path, num_bytes: int) -> Converted:
    content = load_checkpoint(path)
    weights = content["model_state"]
    for name, tensor in weights.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise UserError(f"{path}: model_state holds more than named tensors; give another file")
        if tensor.layout is not torch.strided or tensor.device.type != "cpu":
            raise UserError(f"{path}: {_some([name])} is no plain tensor; give another file")
        if name.startswith("blocks."):
            raise UserError(
                f"{path}: is of PyTorchVideo, whose models have other parameters; take the file "
                "that SlowFast's own MODEL_ZOO.md links for this model, and convert that"
            )
    _check_size(path, sum(t.numel() * t.element_size() for t in weights.values()), num_bytes)
    state = {}
    for name, tensor in weights.items():
        dtype = torch.float32 if tensor.is_floating_point() else tensor.dtype
        # A copy: a view would be saved with all that it is a view of.
        state[name] = torch.empty(tensor.shape, dtype=dtype).copy_(tensor.detach())
    return Converted("PyTorch", state, Counter(_some([k]) for k in content if k != "model_state"))


def _check_size(path: Path, num_bytes: int, file_bytes: int) -> None:
    if num_bytes > file_bytes:
        raise SecurityError(
            f"{path}: refused, its arrays would fill {num_bytes} bytes, the file has {file_bytes}"
        )


def model_keys(model_state: Mapping[str, Tensor]) -> dict[str, object]:
    """The keys of the configuration that the weights tell; none for models other than ResNets.

    Temporal kernels tell I3D (5 frames in the stem), Slow (3 frames later) and C2D (1 everywhere).
    """
    frames = {name: tensor.shape[2] for name, tensor in model_state.items() if tensor.ndim == 5}
    if _STEM not in frames:
        return {}
    single = "i3d" if frames[_STEM] == 5 else "slow" if 3 in frames.values() else "c2d"
    keys: dict[str, object] = {"MODEL.ARCH": "slowfast" if _FUSION in frames else single}
    blocks = {match[0] for name in frames if (match := re.match(r"s4\.pathway0_res\d+", name))}
    if len(blocks) in _DEPTHS:
        keys["RESNET.DEPTH"] = _DEPTHS[len(blocks)]
    if _FUSION in frames:
        keys["SLOWFAST.FUSION_KERNEL_SZ"] = frames[_FUSION]
    if "head.projection.bias" in model_state:
        keys["MODEL.NUM_CLASSES"] = len(model_state["head.projection.bias"])
    return keys


def _some(names: Iterable[object]) -> str:
    shown = [ascii(str(name)[:80])[1:-1][:80] for name in names]
    more = f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more

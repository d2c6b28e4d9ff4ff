"""Several processes, one run: what they tell one another. With one process all of it is a no-op.

Tensors alone travel, never pickled objects: texts go as their bytes.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from datetime import timedelta

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from actionrec import launched
from actionrec.errors import PeerLost, UserError

# What gloo and NCCL say when a process at the other end is gone.
_LOST = ("gloo", "Gloo", "NCCL", "Connection closed by peer", "Connection reset by peer")


def start(device_type: str, backend: str, timeout_sec: int) -> torch.device:
    """Meet the other processes of the run; returns the device of this one.

    backend: gloo | nccl, on GPUs; the CPU has gloo alone. timeout_sec: how long processes wait for
    one another, here and later. Raises UserError where they do not meet, or GPUs are too few.
    """
    device = torch.device(device_type)
    if device_type == "cuda":
        device = torch.device("cuda", _gpu_number())
        torch.cuda.set_device(device)
    if launched.world_size() > 1 and not dist.is_initialized():
        timeout = timedelta(seconds=timeout_sec)
        try:
            # gloo goes along for the CPU: numbers and texts then need no GPU.
            which = "gloo" if device_type == "cpu" else f"cpu:gloo,cuda:{backend}"
            dist.init_process_group(which, timeout=timeout)
        except (RuntimeError, ValueError, OSError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"process {launched.rank()} of {launched.world_size()} did not meet the others "
                f"within DIST_TIMEOUT_SEC {timeout_sec} ({reason}); see that all were started, "
                "that --init_method (torchrun: --rdzv-endpoint) names the first machine, and that "
                "its port is free and open"
            ) from error
    return device


def _gpu_number() -> int:
    """The GPU of this process. Raises UserError where there is none for it."""
    wanted, there = launched.local_world_size(), torch.cuda.device_count()
    if not torch.cuda.is_available():
        raise UserError(
            f"NUM_GPUS: {wanted}, but torch sees no GPU here; use NUM_GPUS 0 for the CPU, or "
            "install the CUDA build of torch (prepare_dir_AR.sh --torch)"
        )
    if there == 1 and wanted == 1:
        return 0  # alone, or one of several that each see one GPU, as with Slurm's --gpus-per-task
    if launched.world_size() > 1 and "LOCAL_RANK" not in os.environ:
        raise UserError(
            "LOCAL_RANK: is not in the environment, so that no process knows its GPU; start the "
            "run with torchrun, or by NUM_GPUS alone"
        )
    if max(wanted, launched.local_rank() + 1) > there:
        raise UserError(
            f"NUM_GPUS: {max(wanted, launched.local_rank() + 1)}, but this machine has {there}; "
            "lower it"
        )
    return launched.local_rank()


def finish() -> None:
    """Leave the others, at the regular end of a run."""
    if dist.is_initialized():
        dist.destroy_process_group()


@contextlib.contextmanager
def peers_may_be_lost() -> Iterator[None]:
    """Inside, the error of an exchange that another process left becomes a PeerLost."""
    try:
        yield
    except RuntimeError as error:
        is_exchange = isinstance(error, dist.DistError) or any(w in str(error) for w in _LOST)
        if launched.world_size() == 1 or not is_exchange:
            raise
        raise PeerLost(
            f"process {launched.rank()} of {launched.world_size()} lost the others: one has ended, "
            "see its message, or did not answer within DIST_TIMEOUT_SEC, or cannot be reached "
            f"({_reason(error)}); the same command goes on from the last checkpoint"
        ) from error


def _reason(error: Exception) -> str:
    """What torch, gloo or NCCL say of it, in a line: their last word is the telling one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    last = [after for line, after in itertools.pairwise(lines) if line.startswith("Last error")]
    return "; ".join([lines[0][:200] if lines else type(error).__name__, *last])


def gather_numbers(numbers: Sequence[float]) -> np.ndarray:
    """The `numbers` of every process: (processes, len(numbers)) float64, by rank."""
    if not dist.is_initialized():
        return np.asarray([numbers], dtype=np.float64)
    own = torch.tensor(numbers, dtype=torch.float64)
    every = [torch.empty_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(every, own)
    return torch.stack(every).numpy()


def gather_texts(text: str) -> list[str]:
    """The `text` of every process, by rank."""
    if not dist.is_initialized():
        return [text]
    own = np.frombuffer(text.encode(), np.uint8)
    sizes = gather_numbers([len(own)])[:, 0].astype(int)
    padded = torch.zeros(int(sizes.max()), dtype=torch.uint8)
    padded[: len(own)] = torch.from_numpy(own.copy())
    every = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(every, padded)
    return [bytes(t[:n].numpy()).decode() for t, n in zip(every, sizes, strict=True)]


def sum_array(array: np.ndarray) -> np.ndarray:
    """The sum over all processes, of the same shape and type.

    Where all but one hold zeros, each value arrives as it was.
    """
    if not dist.is_initialized():
        return array
    is_bool = array.dtype == bool
    total = torch.from_numpy(array.astype(np.uint8) if is_bool else array.copy())
    dist.all_reduce(total)
    summed = total.numpy()
    return summed.astype(bool) if is_bool else summed


def copy_weights_from_main(module: nn.Module) -> None:
    """Give all processes the parameters and buffers of the main one."""
    if dist.is_initialized():
        with torch.no_grad():
            for tensor in module.state_dict().values():
                dist.broadcast(tensor, src=0)


def copy_buffers_from_main(module: nn.Module) -> None:
    """Give all processes the buffers of the main one, as the running means of batch norm."""
    if dist.is_initialized():
        for buffer in module.buffers():
            dist.broadcast(buffer, src=0)


def wait_for_all() -> None:
    """Return when every process has come here."""
    gather_numbers([0.0])


def require_agreement(facts: dict[str, str]) -> None:
    """Raise UserError, in every process, where one holds another value of a fact than the main."""
    every = [json.loads(text) for text in gather_texts(json.dumps(facts))]
    for rank, theirs in enumerate(every):
        for name, value in every[0].items():
            if theirs.get(name) != value:
                raise UserError(
                    f"{name}: process 0 has {value} and process {rank} has {theirs.get(name)}; all "
                    "processes of a run need the same code, configuration, annotation and "
                    "OUTPUT_DIR"
                )

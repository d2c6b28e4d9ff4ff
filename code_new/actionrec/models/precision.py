"""The number format of a run: TRAIN.PRECISION float32, bf16 or fp16."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

DTYPES = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Precision:
    """What a model does under a format; weights, optimizer and loss are float32 with each.

    `autocast()` is where convolutions run in 16 bits, `scaler` keeps the gradients of fp16 from
    vanishing (Micikevicius et al. 2018, arXiv:1710.03740, section 3.2). `memory_format` is channels
    last with 16 bits: on a CPU it makes float32 slower and bf16 faster (docs/benchmarks.md).
    """

    def __init__(self, name: str = "float32", device_type: str = "cpu") -> None:
        self.name, self.device_type = name, device_type
        self.is_16_bit = name != "float32"
        self.memory_format = torch.channels_last_3d if self.is_16_bit else torch.contiguous_format
        self.scaler = torch.amp.GradScaler(device_type, enabled=name == "fp16")

    def autocast(self) -> torch.autocast:
        return torch.autocast(self.device_type, DTYPES[self.name], enabled=self.is_16_bit)

    def prepare(self, backbone: nn.Module) -> nn.Module:
        """`backbone`, in place, laid out for the format, its head in float32.

        Sigmoids in 16 bits make scores equal that are not, and ties change an average precision.
        """
        if self.is_16_bit:
            backbone.to(memory_format=self.memory_format)  # type: ignore[call-overload]
            for name in ("head", "head_helper"):
                if isinstance(head := getattr(backbone, name, None), nn.Module):
                    self._keep_in_float32(head)
        return backbone

    def _keep_in_float32(self, head: nn.Module) -> None:
        forward = head.forward

        def in_float32(*inputs: Any) -> Any:
            with torch.autocast(self.device_type, enabled=False):
                return forward(*_float32(inputs))

        head.forward = in_float32  # type: ignore[method-assign]  # keeps the names of its weights


def _float32(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.float()
    return type(value)(_float32(inner) for inner in value)

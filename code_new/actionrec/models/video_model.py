"""A backbone with its input stage: frames in, logits (training) or scores out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from actionrec.models.precision import Precision
from actionrec.models.video_input import VideoInput
from actionrec.types import InputSettings


class VideoModel(nn.Module):
    """frames (N, T, H, W, 3), uint8 or float32 in 0..255, on any device -> (N, C) float32.

    `backbone` takes a list of pathways (N, 3, T, H, W); its parameters alone go into checkpoints.
    """

    def __init__(
        self, backbone: nn.Module, settings: InputSettings, precision: Precision | None = None
    ) -> None:
        super().__init__()
        self.precision = precision or Precision()
        self.input = VideoInput(settings, self.precision.memory_format)
        self.backbone = self.precision.prepare(backbone)

    @property
    def device(self) -> torch.device:
        return next(self.backbone.parameters()).device

    def forward(self, frames: Tensor) -> Tensor:
        pathways = self.input(frames.to(self.device, non_blocking=True))
        with self.precision.autocast():
            return self.backbone(pathways).float()

"""A backbone with its input stage: frames in, logits (training) or scores out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from actionrec.models.video_input import VideoInput
from actionrec.types import InputSettings


class VideoModel(nn.Module):
    """frames (N, T, H, W, 3), uint8 or float32 in 0..255, on any device -> (N, C) float32.

    `backbone` takes a list of pathways (N, 3, T, H, W); its parameters alone go into checkpoints.
    """

    def __init__(self, backbone: nn.Module, settings: InputSettings) -> None:
        super().__init__()
        self.input = VideoInput(settings)
        self.backbone = backbone

    @property
    def device(self) -> torch.device:
        return next(self.backbone.parameters()).device

    def forward(self, frames: Tensor) -> Tensor:
        return self.backbone(self.input(frames.to(self.device, non_blocking=True)))

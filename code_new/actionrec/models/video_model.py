"""A backbone with its input stage: frames in, logits (training) or scores out."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from actionrec.errors import UserError
from actionrec.models.precision import Precision
from actionrec.models.video_input import VideoInput
from actionrec.types import InputSettings


def last_linear(backbone: nn.Module, num_classes: int) -> tuple[str, nn.Linear]:
    """The layer that gives a logit a class, and its name: `head.projection` in SlowFast's models.

    Raises UserError where there is none.
    """
    linear = [(n, m) for n, m in backbone.named_modules() if isinstance(m, nn.Linear)]
    fitting = [(name, layer) for name, layer in linear if layer.out_features == num_classes]
    if not fitting:
        raise UserError(
            f"MODEL.ARCH: this model has no linear layer of {num_classes} outputs, which "
            "TRAIN.HEAD_ONLY, TRAIN.NEW_HEAD and heads on features need; train the whole model"
        )
    return fitting[-1]


class VideoModel(nn.Module):
    """frames (N, T, H, W, 3), uint8 or float32 in 0..255, on any device -> (N, C) float32.

    `backbone` takes a list of pathways (N, 3, T, H, W); its parameters alone go into checkpoints.
    """

    def __init__(
        self, backbone: nn.Module, settings: InputSettings, precision: Precision | None = None
    ) -> None:
        super().__init__()
        self.precision = precision or Precision()
        self._trained_part: str | None = None  # of the backbone, where not all of it is trained
        self.input = VideoInput(settings, self.precision.memory_format)
        self.backbone = self.precision.prepare(backbone)

    def train_last_layer_alone(self, num_classes: int) -> None:
        """Keep the weights and statistics of all but the last linear layer, in training too.

        What the head does besides, as dropout, goes on as in training.
        """
        name, last = last_linear(self.backbone, num_classes)
        self._trained_part = name.partition(".")[0]
        self.backbone.requires_grad_(False)
        last.requires_grad_(True)

    def train(self, mode: bool = True) -> VideoModel:
        super().train(mode)
        if mode and self._trained_part is not None:
            for name, part in self.backbone.named_children():
                part.train(name == self._trained_part)
            for module in self.backbone.modules():
                if isinstance(module, _NormBase):
                    module.eval()
        return self

    @property
    def device(self) -> torch.device:
        return next(self.backbone.parameters()).device

    def forward(self, frames: Tensor) -> Tensor:
        pathways = self.input(frames.to(self.device, non_blocking=True))
        with self.precision.autocast():
            return self.backbone(pathways).float()

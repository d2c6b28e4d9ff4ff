"""The first step on the device: the frames of a batch become the float pathways of a model."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from actionrec.types import InputSettings


class VideoInput(nn.Module):
    """Normalise, order the channels, and split into pathways.

    (x / 255 - mean) / std. Mean and std are in the order of the stored frames, RGB, also when the
    model sees BGR: as in SlowFast, channels are reversed after the arithmetic. (Its frame datasets
    store BGR: unequal values taken from there must be turned round.)
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        settings: InputSettings,
        memory_format: torch.memory_format = torch.contiguous_format,
    ) -> None:
        super().__init__()
        self.memory_format = memory_format
        self.bgr = settings.bgr
        self.alpha = settings.alpha
        # Not persistent: a checkpoint holds the names of the model alone.
        self.register_buffer("mean", torch.tensor(settings.mean), persistent=False)
        self.register_buffer("std", torch.tensor(settings.std), persistent=False)

    def forward(self, frames: Tensor) -> list[Tensor]:
        """frames (N, T, H, W, 3) RGB, uint8 or float32 in 0..255 -> [(N, 3, T, H, W)] float32, or
        [slow, fast] with alpha.

        The slow pathway has T // alpha frames, evenly spaced with both ends, rounded down.
        """
        pixels = (frames.to(self.mean.dtype) / 255.0 - self.mean) / self.std
        if self.bgr:
            pixels = pixels.flip(-1)
        fast = pixels.permute(0, 4, 1, 2, 3).contiguous(memory_format=self.memory_format)
        if self.alpha is None:
            return [fast]
        num_frames = fast.shape[2]
        # On the CPU: other devices round linspace differently, and a frame would change.
        rows = torch.linspace(0, num_frames - 1, num_frames // self.alpha).long()
        slow = fast.index_select(2, rows.to(fast.device))
        return [slow.contiguous(memory_format=self.memory_format), fast]

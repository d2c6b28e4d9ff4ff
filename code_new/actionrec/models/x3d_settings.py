"""What the configuration says of an X3D, and the sizes that follow. Nothing here imports torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from actionrec.errors import UserError

HEAD_ACTS = ("softmax", "sigmoid")
BASE_BLOCKS = (1, 2, 5, 3)  # of res2 to res5, before the depth factor

# What a value of the configuration has to be, and how that is said.
Limit = tuple[Callable[[Any], bool], str]
COUNT: Limit = (lambda v: v >= 1, "1 or more")
FACTOR: Limit = (lambda v: 0 < v < math.inf, "a finite number above 0")
DILATIONS: Limit = (
    lambda v: len(v) == 4 and all(type(d) is int and d >= 1 for d in v),
    "1 or more for each of 4 stages",
)
LIMITS: dict[str, tuple[str, Limit]] = {
    "num_classes": ("MODEL.NUM_CLASSES", COUNT),
    "num_frames": ("DATA.NUM_FRAMES", COUNT),
    "crop_px": ("DATA.TRAIN_CROP_SIZE", COUNT),
    "width_factor": ("X3D.WIDTH_FACTOR", FACTOR),
    "depth_factor": ("X3D.DEPTH_FACTOR", FACTOR),
    "bottleneck_factor": ("X3D.BOTTLENECK_FACTOR", FACTOR),
    "dim_c1": ("X3D.DIM_C1", COUNT),
    "dim_c5": ("X3D.DIM_C5", COUNT),
    "num_groups": ("RESNET.NUM_GROUPS", COUNT),
    "dilations": ("RESNET.SPATIAL_DILATIONS", DILATIONS),
    "dropout": ("MODEL.DROPOUT_RATE", (lambda v: 0 <= v < 1, "0 or more, below 1")),
    "head_act": ("MODEL.HEAD_ACT", (lambda v: v in HEAD_ACTS, "softmax or sigmoid")),
    "fc_init_std": ("MODEL.FC_INIT_STD", (lambda v: 0 <= v < math.inf, "0 or more, finite")),
}


class Stage(NamedTuple):
    """One of res2 to res5; sizes in channels."""

    dim_out: int
    dim_inner: int
    num_blocks: int
    num_groups: int
    dilation: int


@dataclass(frozen=True)
class X3DSettings:
    """What the configuration says of the network; the defaults are SlowFast's.

    Raises UserError, with the configuration's key, for a value that no network can be built from.
    """

    num_classes: int
    num_frames: int
    crop_px: int  # of training: the head pools what becomes of it, larger crops give more positions
    width_factor: float = 1.0
    depth_factor: float = 1.0
    bottleneck_factor: float = 1.0
    dim_c1: int = 12
    dim_c5: int = 2048
    scale_res2: bool = False
    bn_lin5: bool = False
    channelwise: bool = True
    num_groups: int = 1  # of the 3x3x3 convolutions that are not channelwise
    stride_1x1: bool = False  # the first convolution of a stage strides, not its 3x3x3 one
    dilations: tuple[int, ...] = (1, 1, 1, 1)  # of the 3x3x3 convolutions in space, res2 to res5
    dropout: float = 0.5
    head_act: str = "softmax"
    fc_init_std: float = 0.01
    zero_init_final_bn: bool = False

    def __post_init__(self) -> None:
        for name, (key, (is_possible, wanted)) in LIMITS.items():
            if not is_possible(value := getattr(self, name)):
                raise UserError(f"{key}: no X3D can be built with {value!r}; give {wanted}")
        for stage in self.stages():
            if stage.dim_inner < 1:
                raise UserError(
                    f"X3D.BOTTLENECK_FACTOR: {self.bottleneck_factor} of {stage.dim_out} channels "
                    "leaves none; give a larger factor"
                )
            if stage.dim_inner % stage.num_groups:
                raise UserError(
                    f"RESNET.NUM_GROUPS: {stage.num_groups} does not divide the {stage.dim_inner} "
                    "channels of a bottleneck; give 1, or set X3D.CHANNELWISE_3x3x3"
                )

    def stages(self) -> list[Stage]:
        """res2 to res5: each doubles the width of the one before, and all are then expanded."""
        stages, width = [], self.dim_c1
        for index, num_blocks in enumerate(BASE_BLOCKS):
            if index > 0 or self.scale_res2:
                width = round_width(width, 2, divisor=8)
            dim_out = round_width(width, self.width_factor)
            dim_inner = int(self.bottleneck_factor * dim_out)
            depth = math.ceil(self.depth_factor * num_blocks)
            groups = dim_inner if self.channelwise else self.num_groups
            stages.append(Stage(dim_out, dim_inner, depth, groups, self.dilations[index]))
        return stages


def round_width(width: int, factor: float, *, least: int = 1, divisor: int = 1) -> int:
    """width * factor to the nearest multiple of `divisor`, halves up, as in MobileNetV2.

    At least `least`, and one multiple more where rounding would take away over a tenth.
    """
    wanted = width * factor
    rounded = max(least, math.floor(wanted / divisor + 0.5) * divisor)
    return rounded + divisor if rounded < 0.9 * wanted else rounded

"""Which models the configuration can describe: what upstream would answer with a traceback."""

from __future__ import annotations

from collections.abc import Iterator

from fvcore.common.config import CfgNode

from actionrec.errors import UserError
from slowfast.ak import base

# The class that goes with an architecture, as upstream's own configurations name it.
MODEL_NAMES = {
    "slowfast": "SlowFast",
    "slow": "ResNet",
    "i3d": "ResNet",
    "c2d": "ResNet",
    "x3d": "X3D",
}
DEPTHS = (50, 101)
INSTANTIATIONS = ("dot_product", "softmax")
TRANSFORMS = ("bottleneck_transform",)  # "basic_transform" cannot be built at the pin
X3D_TRANSFORM = "x3d_transform"  # of X3D; on the git base, any ResNet can have it
PER_STAGE = (
    "RESNET.NUM_BLOCK_TEMP_KERNEL",
    "RESNET.SPATIAL_STRIDES",
    "RESNET.SPATIAL_DILATIONS",
    "NONLOCAL.LOCATION",
    "NONLOCAL.GROUP",
)
NOT_OF_X3D = ("RESNET.NUM_BLOCK_TEMP_KERNEL", "RESNET.SPATIAL_STRIDES")


def check_model(cfg: CfgNode) -> list[str]:
    """One line for each value that no model can be built from."""
    problem = base.check_arch(cfg.MODEL.ARCH)
    if problem:
        return [problem]
    problems = [*_pathways(cfg), *_sizes(cfg)]
    network = _x3d if cfg.MODEL.ARCH == "x3d" else _network
    return problems or [*network(cfg), *_geometry(cfg)]


def _pathways(cfg: CfgNode) -> Iterator[str]:
    arch, channels = cfg.MODEL.ARCH, cfg.DATA.INPUT_CHANNEL_NUM
    if MODEL_NAMES[arch] != cfg.MODEL.MODEL_NAME:
        yield (
            f"MODEL.MODEL_NAME: {cfg.MODEL.MODEL_NAME!r} does not go with MODEL.ARCH {arch!r}, "
            f"{MODEL_NAMES[arch]!r} does; see configs/AK for whole configurations"
        )
    pathways = 2 if arch == "slowfast" else 1
    if len(channels) != pathways:
        yield (
            f"DATA.INPUT_CHANNEL_NUM: {channels} has not one value for each of the {pathways} "
            f"pathways of {arch}"
        )
    if any(number != 3 for number in channels):
        yield f"DATA.INPUT_CHANNEL_NUM: {channels}: frames have 3 channels"
    for name in PER_STAGE:
        if arch == "x3d" and name in NOT_OF_X3D:
            continue
        section, key = name.split(".")
        value = cfg[section][key]
        if len(value) != 4 or any(
            not isinstance(s, list | tuple) or len(s) != pathways for s in value
        ):
            yield (
                f"{name}: {value} is not one list for each of the 4 stages with one entry for each "
                f"of the {pathways} pathways of {arch}"
            )


def _x3d(cfg: CfgNode) -> Iterator[str]:
    if cfg.RESNET.TRANS_FUNC != X3D_TRANSFORM:
        yield f"RESNET.TRANS_FUNC: {cfg.RESNET.TRANS_FUNC!r}: x3d has {X3D_TRANSFORM}"
    if any(any(stage) for stage in cfg.NONLOCAL.LOCATION):
        yield f"NONLOCAL.LOCATION: {cfg.NONLOCAL.LOCATION}: x3d has no non-local blocks; empty it"
    if cfg.RESNET.DEPTH not in DEPTHS:  # asserted by upstream, and without effect
        yield f"RESNET.DEPTH: {cfg.RESNET.DEPTH} has no effect on x3d; leave it at {DEPTHS[0]}"
    try:
        base.x3d_settings(cfg)
    except UserError as error:
        yield str(error)


def _sizes(cfg: CfgNode) -> Iterator[str]:
    for section, name in (
        ("RESNET", "WIDTH_PER_GROUP"),
        ("RESNET", "NUM_GROUPS"),
        ("SLOWFAST", "ALPHA"),
        ("SLOWFAST", "BETA_INV"),
        ("SLOWFAST", "FUSION_CONV_CHANNEL_RATIO"),
        ("SLOWFAST", "FUSION_KERNEL_SZ"),
    ):
        if cfg[section][name] < 1:
            yield f"{section}.{name}: {cfg[section][name]} is too small, it is at least 1"


def _network(cfg: CfgNode) -> Iterator[str]:
    arch, resnet, fast = cfg.MODEL.ARCH, cfg.RESNET, cfg.SLOWFAST
    if resnet.DEPTH not in DEPTHS:
        yield f"RESNET.DEPTH: {resnet.DEPTH} is not one of {', '.join(map(str, DEPTHS))}"
    if resnet.TRANS_FUNC == X3D_TRANSFORM and arch != "slowfast":
        if base.kind() == "wheel":
            yield (
                f"RESNET.TRANS_FUNC: {X3D_TRANSFORM} with MODEL.ARCH {arch} needs the git base "
                "(prepare_dir_AR.sh --upstream git); for an X3D set MODEL.ARCH x3d and "
                "MODEL.MODEL_NAME X3D"
            )
    elif resnet.TRANS_FUNC not in TRANSFORMS:
        yield f"RESNET.TRANS_FUNC: {resnet.TRANS_FUNC!r} is not one of {', '.join(TRANSFORMS)}"
    if cfg.NONLOCAL.INSTANTIATION not in INSTANTIATIONS:
        yield (
            f"NONLOCAL.INSTANTIATION: {cfg.NONLOCAL.INSTANTIATION!r} is not one of "
            f"{', '.join(INSTANTIATIONS)}"
        )
    if any(set(s) not in ({1}, {2}) for s in resnet.SPATIAL_STRIDES if isinstance(s, list)):
        yield (
            f"RESNET.SPATIAL_STRIDES: {resnet.SPATIAL_STRIDES}: the strides of a stage are 1 or 2, "
            "the same for all pathways"
        )
    if arch in ("i3d", "c2d") and cfg.DATA.NUM_FRAMES < 2:
        yield f"DATA.NUM_FRAMES: {cfg.DATA.NUM_FRAMES} is too short for {arch}, which halves it"
    if not 0 <= cfg.MODEL.DROPOUT_RATE < 1:
        yield f"MODEL.DROPOUT_RATE: {cfg.MODEL.DROPOUT_RATE} is not from 0 to below 1"
    if arch == "slowfast" and resnet.WIDTH_PER_GROUP % fast.BETA_INV:
        yield (
            f"SLOWFAST.BETA_INV: {fast.BETA_INV} does not divide RESNET.WIDTH_PER_GROUP "
            f"{resnet.WIDTH_PER_GROUP}"
        )
    if arch == "slowfast" and fast.BETA_INV % fast.FUSION_CONV_CHANNEL_RATIO:
        yield (
            f"SLOWFAST.FUSION_CONV_CHANNEL_RATIO: {fast.FUSION_CONV_CHANNEL_RATIO} does not divide "
            f"SLOWFAST.BETA_INV {fast.BETA_INV}"
        )
    if arch == "slowfast" and not fast.FUSION_KERNEL_SZ % 2:
        yield f"SLOWFAST.FUSION_KERNEL_SZ: {fast.FUSION_KERNEL_SZ} is not odd"


def _geometry(cfg: CfgNode) -> Iterator[str]:
    jitter, crop = cfg.DATA.TRAIN_JITTER_SCALES, cfg.DATA.TRAIN_CROP_SIZE
    if len(jitter) != 2 or not crop <= jitter[0] <= jitter[1]:
        yield (
            f"DATA.TRAIN_JITTER_SCALES: {jitter} is no range [smallest, largest] of short sides "
            f"from DATA.TRAIN_CROP_SIZE {crop} up"
        )
    # X3D rounds the halves up, the others down.
    rounded = (lambda px: -(-px // 32)) if cfg.MODEL.ARCH == "x3d" else (lambda px: px // 32)
    if crop % 32 and cfg.MODEL.ARCH != "x3d":
        yield (
            f"DATA.TRAIN_CROP_SIZE: {crop} is not a multiple of 32, which {cfg.MODEL.ARCH} needs; "
            f"{max(crop // 32, 1) * 32} and {(crop // 32 + 1) * 32} are"
        )
    if cfg.MODEL.ARCH == "slowfast" and cfg.DATA.NUM_FRAMES % cfg.SLOWFAST.ALPHA:
        yield (
            f"SLOWFAST.ALPHA: DATA.NUM_FRAMES {cfg.DATA.NUM_FRAMES} is not a multiple of "
            f"{cfg.SLOWFAST.ALPHA}"
        )
    test_crop = cfg.DATA.TEST_CROP_SIZE
    if rounded(test_crop) < rounded(crop):
        yield (
            f"DATA.TEST_CROP_SIZE: {test_crop} is too small for a model that was made for "
            f"DATA.TRAIN_CROP_SIZE {crop}; give {crop} or more"
        )

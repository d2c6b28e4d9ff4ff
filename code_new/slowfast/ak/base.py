"""What differs between the trees that SlowFast can come from: the one file that knows.

git: the repository at the pinned commit. wheel: the package slowfast 1.0 of the package index, the
same models under the same parameter names, with fewer keys, without X3D and without training tools.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from fvcore.common.config import CfgNode

from actionrec.errors import UserError
from actionrec.models.x3d_settings import X3DSettings

if TYPE_CHECKING:
    from torch import nn

ARCHS = ("c2d", "i3d", "slow", "slowfast", "x3d")
# Data sets of upstream's own loops at the pinned commit; charades is read by ours.
UPSTREAM_DATASETS = ("ava", "imagenet", "kinetics", "ptvcharades", "ptvkinetics", "ptvssv2", "ssv2")


# Keys of the wheel alone; where its models read one, _build_from_wheel puts it back.
WHEEL_ALONE = (
    ("BN", "EPSILON"),
    ("BN", "MOMENTUM"),
    ("DATA", "CROP_SIZE"),
    ("AVA", "TRAIN_PCA_EIGVAL"),
    ("AVA", "TRAIN_PCA_EIGVEC"),
)


def folder() -> Path:
    """The package slowfast of the prepared tree."""
    import slowfast

    return Path(next(iter(slowfast.__path__)))


def kind() -> str:
    """`git` or `wheel`, seen from the files, without importing any of them."""
    return "git" if (folder() / "models" / "build.py").is_file() else "wheel"


def upstream_datasets() -> list[str]:
    """Lower-case names of the data sets that upstream's own loops read, a user's own among them.

    Seen from the files: importing them would bring torch.
    """
    if kind() == "wheel":
        return list(UPSTREAM_DATASETS)
    names: set[str] = set()
    for file in (folder() / "datasets").glob("*.py"):
        registered = r"^@DATASET_REGISTRY\.register\(\)\s+(?:class|def)\s+(\w+)"
        names |= set(re.findall(registered, file.read_text(encoding="utf-8"), re.MULTILINE))
    return sorted(name.lower() for name in names)


def default_config() -> CfgNode:
    """Upstream's defaults with every key that our engine knows."""
    from slowfast.ak.wheel_keys import WHEEL_KEYS
    from slowfast.config.custom_config import add_custom_config, add_keys
    from slowfast.config.defaults import _C

    cfg = _C.clone()
    if kind() == "wheel":
        add_keys(cfg, WHEEL_KEYS)
        for section, key in WHEEL_ALONE:
            del cfg[section][key]
    add_custom_config(cfg)
    # The wheel's defaults differ in three: an int refuses a warm-up of 0.5 epochs, and 1 and 1.
    cfg.SOLVER.WARMUP_EPOCHS = float(cfg.SOLVER.WARMUP_EPOCHS)
    cfg.TRAIN.EVAL_PERIOD = cfg.TRAIN.CHECKPOINT_PERIOD = 10
    return cfg


def check_arch(arch: str) -> str | None:
    """What is wrong with MODEL.ARCH, or None."""
    if arch not in ARCHS:
        return f"MODEL.ARCH: unknown architecture {arch!r}; known: {', '.join(ARCHS)}"
    return None


def build_model(cfg: CfgNode) -> nn.Module:
    """The model that MODEL.ARCH names, on the CPU, with upstream's names and initial weights.

    In training mode it returns logits (N, C); in evaluation it applies MODEL.HEAD_ACT at each
    position and averages the positions.
    """
    cfg = cfg.clone()
    cfg.BN.NORM_TYPE = "batchnorm"  # synchronised by our engine, where there are several processes
    build = _build_from_git if kind() == "git" else _build_from_wheel
    try:
        return build(cfg)
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as e:
        raise UserError(
            f"MODEL.ARCH: no {cfg.MODEL.ARCH} can be built from these RESNET, SLOWFAST, X3D and "
            f"NONLOCAL keys ({type(e).__name__}: {e}); compare them with the files in configs/AK"
        ) from e


def _build_from_git(cfg: CfgNode) -> nn.Module:
    from slowfast.models import MODEL_REGISTRY

    return MODEL_REGISTRY.get(cfg.MODEL.MODEL_NAME)(cfg)


def x3d_settings(cfg: CfgNode) -> X3DSettings:
    """The keys that an X3D acts on. Raises UserError for a value that none can be built from."""
    x3d, resnet, model = cfg.X3D, cfg.RESNET, cfg.MODEL
    return X3DSettings(
        num_classes=model.NUM_CLASSES,
        num_frames=cfg.DATA.NUM_FRAMES,
        crop_px=cfg.DATA.TRAIN_CROP_SIZE,
        width_factor=x3d.WIDTH_FACTOR,
        depth_factor=x3d.DEPTH_FACTOR,
        bottleneck_factor=x3d.BOTTLENECK_FACTOR,
        dim_c1=x3d.DIM_C1,
        dim_c5=x3d.DIM_C5,
        scale_res2=x3d.SCALE_RES2,
        bn_lin5=x3d.BN_LIN5,
        channelwise=x3d.CHANNELWISE_3x3x3,
        num_groups=resnet.NUM_GROUPS,
        stride_1x1=resnet.STRIDE_1X1,
        dilations=tuple(dilation for (dilation,) in resnet.SPATIAL_DILATIONS),
        dropout=model.DROPOUT_RATE,
        head_act=model.HEAD_ACT,
        fc_init_std=model.FC_INIT_STD,
        zero_init_final_bn=resnet.ZERO_INIT_FINAL_BN,
    )


def _build_from_wheel(cfg: CfgNode) -> nn.Module:
    from torch import nn

    if cfg.MODEL.ARCH == "x3d":
        from actionrec.models.x3d import X3D

        return X3D(x3d_settings(cfg))
    from slowfast.config.defaults import _C
    from slowfast.models.model_builder import _MODEL_TYPES

    cfg = cfg.clone()
    cfg.BN.EPSILON, cfg.BN.MOMENTUM = _C.BN.EPSILON, _C.BN.MOMENTUM
    cfg.DATA.CROP_SIZE = cfg.DATA.TRAIN_CROP_SIZE  # it sizes the pooling
    if cfg.MODEL.ARCH == "slow":
        cfg.MODEL.ARCH = "slowonly"  # the wheel's name for it
    model = _MODEL_TYPES[cfg.MODEL.ARCH](cfg)
    if cfg.MODEL.HEAD_ACT == "sigmoid":
        model.head.act = nn.Sigmoid()  # the wheel's head knows softmax alone
    return model

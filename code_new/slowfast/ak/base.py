"""What differs between the trees that SlowFast can come from: the one file that knows.

git: the repository at the pinned commit. wheel: the package slowfast 1.0 of the package index, the
same models under the same parameter names, with fewer keys and without training tools.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fvcore.common.config import CfgNode

from actionrec.errors import UserError

if TYPE_CHECKING:
    from torch import nn

SINGLE_PATHWAY = ("c2d", "i3d", "slow")
ARCHS = (*SINGLE_PATHWAY, "slowfast")


def kind() -> str:
    """`git` or `wheel`, seen from the files, without importing any of them."""
    import slowfast

    models = Path(next(iter(slowfast.__path__))) / "models"
    return "git" if (models / "build.py").is_file() else "wheel"


def default_config() -> CfgNode:
    """Upstream's defaults with every key that our engine knows."""
    from slowfast.ak.wheel_keys import WHEEL_KEYS
    from slowfast.config.custom_config import add_custom_config, add_keys
    from slowfast.config.defaults import _C

    cfg = _C.clone()
    if kind() == "wheel":
        add_keys(cfg, WHEEL_KEYS)
    add_custom_config(cfg)
    # An int on the wheel, where a warm-up of 0.5 epochs would be refused.
    cfg.SOLVER.WARMUP_EPOCHS = float(cfg.SOLVER.WARMUP_EPOCHS)
    return cfg


def check_arch(arch: str) -> str | None:
    """What is wrong with MODEL.ARCH on this base, or None."""
    if arch == "x3d":
        return (
            "MODEL.ARCH: x3d is not available yet in the tree that the package index gives; "
            "use slowfast or i3d"
        )
    if arch not in ARCHS:
        return f"MODEL.ARCH: unknown architecture {arch!r}; known: {', '.join(ARCHS)}"
    return None


def build_model(cfg: CfgNode) -> nn.Module:
    """The model that MODEL.ARCH names, on the CPU, with upstream's names and initial weights.

    In training mode it returns logits (N, C); in evaluation it applies MODEL.HEAD_ACT at each
    position and averages the positions.
    """
    from torch import nn

    if kind() == "git":
        raise UserError("this tree is a git checkout of SlowFast, which is not supported yet")
    from slowfast.models.model_builder import _MODEL_TYPES

    cfg = cfg.clone()
    # The wheel sizes its pooling by a key of its own, which users never set.
    cfg.DATA.CROP_SIZE = cfg.DATA.TRAIN_CROP_SIZE
    if cfg.MODEL.ARCH == "slow":
        cfg.MODEL.ARCH = "slowonly"  # the wheel's name for it
    try:
        model = _MODEL_TYPES[cfg.MODEL.ARCH](cfg)
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as e:
        raise UserError(
            f"MODEL.ARCH: no {cfg.MODEL.ARCH} can be built from these RESNET, SLOWFAST and "
            f"NONLOCAL keys ({type(e).__name__}: {e}); compare them with the files in configs/AK"
        ) from e
    if cfg.MODEL.HEAD_ACT == "sigmoid":
        model.head.act = nn.Sigmoid()  # the wheel's head knows softmax alone
    return model

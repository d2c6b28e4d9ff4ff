"""Which values of the configuration can be used; each answer names key, value and way out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from actionrec import launched
from actionrec.engine import wandb_run
from actionrec.errors import nearest
from slowfast.ak.model_choices import check_model
from slowfast.ak.paths import elsewhere

AT_LEAST: dict[str, float] = {
    "TRAIN.BATCH_SIZE": 1,
    "TRAIN.EVAL_PERIOD": 1,
    "TRAIN.CHECKPOINT_PERIOD": 1,
    "TEST.BATCH_SIZE": 1,
    "TEST.NUM_ENSEMBLE_VIEWS": 1,
    "TEST.NUM_SPATIAL_CROPS": 1,
    "DATA.NUM_FRAMES": 1,
    "DATA.SAMPLING_RATE": 1,
    "DATA.MAX_BAD_FRACTION": 0,
    "DATA.TRAIN_CROP_SIZE": 1,
    "DATA.TEST_CROP_SIZE": 1,
    "MODEL.NUM_CLASSES": 1,
    "MODEL.DROPOUT_RATE": 0,
    "SOLVER.MAX_EPOCH": 1,
    "SOLVER.BASE_LR": 0,
    "SOLVER.WARMUP_EPOCHS": 0,
    "SOLVER.WARMUP_START_LR": 0,
    "SOLVER.COSINE_END_LR": 0,
    "SOLVER.PLATEAU_PATIENCE": 1,
    "SOLVER.PLATEAU_MIN_LR": 0,
    "TRAIN.EARLY_STOP_PATIENCE": 0,
    "SOLVER.WEIGHT_DECAY": 0,
    "SOLVER.MOMENTUM": 0,
    "BN.WEIGHT_DECAY": 0,
    "BN.NUM_BATCHES_PRECISE": 0,
    "DATA_LOADER.NUM_WORKERS": 0,
    "NUM_GPUS": 0,
    "NUM_SHARDS": 1,
    "DIST_TIMEOUT_SEC": 1,
    "TRAIN.CHECKPOINT_STEPS": 0,
    "TRAIN.KEEP_CHECKPOINTS": 0,
    "TRAIN.ACCUMULATE": 1,
    "TRAIN.SKIP_NONFINITE": 0,
    "TRAIN.REPEAT_THRESHOLD": 0,
    "SOLVER.CLIP_GRAD_L2NORM": 0,
    "SOLVER.CLIP_GRAD_VAL": 0,
    "LOG_PERIOD": 1,
    "RNG_SEED": 0,
}
ONE_OF: dict[str, tuple[Any, ...]] = {
    "ENGINE": ("auto", "ours", "upstream"),
    "DATA.SOURCE": ("auto", "frames", "video"),
    "DATA.BAD_CLIPS": ("skip", "error"),
    "DATA.FRAME_SAMPLING": ("stride", "linspace"),
    "DATA.RESAMPLE": ("fast", "exact"),
    "DATA.ENSEMBLE_METHOD": ("sum", "max", "mean"),
    "DATA.DECODING_BACKEND": ("pyav",),
    "METRICS.SEGMENTS": ("train", "workbook", "all", "published"),
    "MODEL.HEAD_ACT": ("sigmoid", "softmax"),
    "SOLVER.OPTIMIZING_METHOD": ("sgd", "adam", "adamw"),
    "BN.NORM_TYPE": ("batchnorm", "sync_batchnorm"),
    "DIST_BACKEND": ("nccl", "gloo"),
    "TRAIN.SAMPLER": ("uniform", "class_balanced", "square_root", "repeat_factor"),
    "TRAIN.MIX": ("none", "mixup", "framestack"),
    "TRAIN.PRECISION": ("float32", "bf16", "fp16"),
}


def _get(cfg: CfgNode, name: str) -> Any:
    for part in name.split("."):
        cfg = cfg[part]
    return cfg


def _infinite(cfg: CfgNode, prefix: str = "") -> Iterator[str]:
    for key, value in cfg.items():
        if isinstance(value, CfgNode):
            yield from _infinite(value, f"{prefix}{key}.")
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, float) and not math.isfinite(number):
                yield f"{prefix}{key}: {number} is not a finite number"


def _ranges(cfg: CfgNode) -> Iterator[str]:
    for name, least in AT_LEAST.items():
        value = _get(cfg, name)
        if not value >= least:
            yield f"{name}: {value} is too small, it is at least {least:g}"
    for name, allowed in ONE_OF.items():
        value = _get(cfg, name)
        if value not in allowed:
            yield f"{name}: {value!r} is not one of {', '.join(nearest(str(value), list(allowed)))}"
    for name in ("SOLVER.BASE_LR", "SOLVER.MAX_EPOCH"):
        if _get(cfg, name) == 0:
            yield f"{name}: 0 would train nothing"
    for name in ("SOLVER.STEPS", "SOLVER.LRS"):
        if not all(isinstance(v, int | float) for v in _get(cfg, name)):
            yield f"{name}: {_get(cfg, name)} is not a list of numbers"
    for name in ("DATA.MEAN", "DATA.STD"):
        if len(_get(cfg, name)) != 3:
            yield f"{name}: {_get(cfg, name)} has not three values, one a channel"
    if any(value <= 0 for value in cfg.DATA.STD):
        yield f"DATA.STD: {cfg.DATA.STD} must be positive"


def _files(cfg: CfgNode) -> Iterator[str]:
    folder = Path(cfg.DATA.PATH_TO_DATA_DIR)
    if not cfg.DATA.PATH_TO_DATA_DIR or not folder.is_dir():
        yield (
            f"DATA.PATH_TO_DATA_DIR: no such folder: {str(folder)!r}; it holds train.csv and "
            "val.csv; link yours with prepare_dir_AR.sh --data" + elsewhere(folder)
        )
    dev = cfg.DATA.DEV_SPLIT
    if dev not in ("auto", "none") and not Path(dev).is_file():
        yield f"DATA.DEV_SPLIT: {dev!r} is neither auto, none nor a file{elsewhere(Path(dev))}"
    for name in (
        "TRAIN.CHECKPOINT_FILE_PATH",
        "TEST.CHECKPOINT_FILE_PATH",
        "LOSS.CLASS_COUNTS",
        "METRICS.CLASS_TABLE",
        "TENSORBOARD.CLASS_NAMES_PATH",
    ):
        value = _get(cfg, name)
        if value and not Path(value).is_file() and not is_of_this_run(cfg, name, value):
            yield f"{name}: no such file: {value}"


def num_processes(cfg: CfgNode) -> int:
    """Processes of the run on all machines: those that torchrun started, else those to start."""
    return (
        launched.world_size() if launched.is_launched() else max(cfg.NUM_GPUS, 1) * cfg.NUM_SHARDS
    )


def is_of_this_run(cfg: CfgNode, name: str, value: str) -> bool:
    """Whether the training that comes first may write this checkpoint, as it does best.pyth."""
    written = cfg.TRAIN.ENABLE and name == "TEST.CHECKPOINT_FILE_PATH"
    return written and Path(value).resolve().is_relative_to(Path(cfg.OUTPUT_DIR).resolve())


def _combinations(cfg: CfgNode) -> Iterator[str]:
    if cfg.TRAIN.ENABLE and cfg.TEST.ENABLE and cfg.TRAIN.DATASET != cfg.TEST.DATASET:
        yield (
            f"TEST.DATASET: {cfg.TEST.DATASET!r} is not TRAIN.DATASET {cfg.TRAIN.DATASET!r}; both "
            "splits are read from DATA.PATH_TO_DATA_DIR, so set them alike, or enable one of them"
        )
    results = Path(cfg.TEST.SAVE_RESULTS_PATH)
    if (
        results.suffix in (".csv", ".log", ".pyth")
        or results.is_absolute()
        or ".." in results.parts
    ):
        yield (
            f"TEST.SAVE_RESULTS_PATH: {str(results)!r} is no name for the pickle, which lies in "
            "OUTPUT_DIR with the CSV beside it; end it in .pkl"
        )
    if cfg.TRAIN.ENABLE and cfg.WANDB.PROJECT and not wandb_run.is_installed():
        yield (
            f"WANDB.PROJECT: {cfg.WANDB.PROJECT!r} needs the package wandb, which this Python does "
            "not have; pip install wandb, or leave the key empty"
        )
    if not cfg.DATA.MULTI_LABEL:
        yield "DATA.MULTI_LABEL: False, but these data sets have several labels a clip; set it True"
    if not 0 <= cfg.SHARD_ID < cfg.NUM_SHARDS:
        yield (
            f"SHARD_ID: {cfg.SHARD_ID} is no number of {cfg.NUM_SHARDS} machines (NUM_SHARDS); "
            "they count from 0"
        )
    processes = num_processes(cfg)
    clips = cfg.TRAIN.BATCH_SIZE * cfg.NUM_SHARDS
    if cfg.TRAIN.ENABLE and clips % processes:
        yield (
            f"TRAIN.BATCH_SIZE: {clips} clips of a step cannot be shared equally by {processes} "
            "processes; choose a multiple"
        )
    for phase in ("TRAIN", "TEST"):
        if cfg[phase].CHECKPOINT_TYPE != "pytorch":
            yield (
                f"{phase}.CHECKPOINT_TYPE: {cfg[phase].CHECKPOINT_TYPE!r} is not pytorch; convert "
                "a Caffe2 file once, python tools/convert_checkpoint.py FILE OUT.pyth, then give "
                "OUT.pyth with CHECKPOINT_TYPE pytorch"
            )
    if cfg.BN.NUM_SPLITS > 1:
        yield f"BN.NUM_SPLITS: {cfg.BN.NUM_SPLITS} is not supported, only 1"
    cuts = cfg.METRICS.SEGMENT_CUTS
    if cuts and not (
        len(cuts) == 2 and all(isinstance(c, int) for c in cuts) and cuts[0] > cuts[1]
    ):
        yield f"METRICS.SEGMENT_CUTS: {cuts} is not [h, t] with whole numbers h > t"
    if cfg.TRAIN.MIX_ALPHA <= 0:
        yield f"TRAIN.MIX_ALPHA: {cfg.TRAIN.MIX_ALPHA} must be positive"
    for key in ("HEAD_ONLY", "NEW_HEAD"):
        if cfg.TRAIN[key] and not cfg.TRAIN.CHECKPOINT_FILE_PATH:
            yield f"TRAIN.{key}: True, but TRAIN.CHECKPOINT_FILE_PATH names no weights for the rest"
    if launched.is_launched() and 1 < cfg.NUM_GPUS != launched.local_world_size():
        yield (
            f"NUM_GPUS: {cfg.NUM_GPUS}, but by RANK, WORLD_SIZE and MASTER_ADDR in the environment "
            f"this is one of {launched.local_world_size()} processes here; set NUM_GPUS 1 under "
            "torchrun, or unset these variables"
        )
    if not (cfg.TRAIN.ENABLE or cfg.TEST.ENABLE):
        yield "TRAIN.ENABLE and TEST.ENABLE are both False: there is nothing to do"


def check_choices(cfg: CfgNode) -> list[str]:
    """One line for each value that cannot be used, none when all can."""
    return [*check_model(cfg), *_infinite(cfg), *_ranges(cfg), *_files(cfg), *_combinations(cfg)]

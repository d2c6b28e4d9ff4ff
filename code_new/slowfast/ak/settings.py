"""The border: a configuration becomes frozen settings. Nothing below sees a CfgNode.

Every value is checked here, before torch is imported, and all bad ones are reported together.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from actionrec.engine.schedule import check_schedule
from actionrec.errors import UserError
from actionrec.types import (
    DataSettings,
    InputSettings,
    LoaderSettings,
    LossSettings,
    MetricSettings,
    RunSettings,
    SolverSettings,
    TestSettings,
    TrainSettings,
)
from slowfast.ak import base
from slowfast.ak.choices import check_choices

# What our engine acts on. A key outside this list that is not at its default would be ignored.
ACTED_ON = (
    "ENGINE DATA.* LOSS.* METRICS.* RESNET.* NONLOCAL.* SLOWFAST.* X3D.* MODEL.* SOLVER.* "
    "TRAIN.* TEST.* BN.USE_PRECISE_STATS BN.NUM_BATCHES_PRECISE BN.WEIGHT_DECAY BN.NORM_TYPE "
    "NUM_GPUS NUM_SHARDS SHARD_ID OUTPUT_DIR RNG_SEED DIST_TIMEOUT_SEC "
    "LOG_PERIOD LOG_MODEL_INFO DIST_BACKEND DATA_LOADER.NUM_WORKERS DATA_LOADER.PIN_MEMORY "
    "TENSORBOARD.ENABLE TENSORBOARD.LOG_DIR TENSORBOARD.CLASS_NAMES_PATH WANDB.PROJECT"
).split()
NOT_ACTED_ON = (
    "DATA.PATH_TO_PRELOAD_IMDB DATA.TRAIN_JITTER_*_RELATIVE DATA.TRAIN_JITTER_MOTION_SHIFT "
    "DATA.USE_OFFSET_SAMPLING DATA.CROP_SIZE DATA.TARGET_FPS DATA.TRAIN_PCA_* "
    "DATA.PATH_LABEL_SEPARATOR MODEL.DROPCONNECT_RATE SOLVER.GAMMA SOLVER.STEP_SIZE "
    "SOLVER.WARMUP_FACTOR MODEL.SINGLE_PATHWAY_ARCH MODEL.MULTI_PATHWAY_ARCH"
).split()


def leaves(cfg: CfgNode, prefix: str = "") -> dict[str, Any]:
    """Every dotted key of a configuration with its value."""
    flat: dict[str, Any] = {}
    for key, value in cfg.items():
        flat |= (
            leaves(value, f"{prefix}{key}.")
            if isinstance(value, CfgNode)
            else {prefix + key: value}
        )
    return flat


def _unused_keys(cfg: CfgNode) -> list[str]:
    defaults = leaves(base.default_config())
    problems = []
    for name, value in leaves(cfg).items():
        acted_on = any(fnmatchcase(name, p) for p in ACTED_ON)
        acted_on = acted_on and not any(fnmatchcase(name, p) for p in NOT_ACTED_ON)
        if not acted_on and value != defaults.get(name):
            problems.append(f"{name}: {value!r} would have no effect in this engine; remove it")
    return problems


def _path(text: str) -> Path | None:
    return Path(text) if text else None


def _class_table(cfg: CfgNode) -> Path | None:
    if cfg.METRICS.CLASS_TABLE:
        return Path(cfg.METRICS.CLASS_TABLE)
    if cfg.TENSORBOARD.CLASS_NAMES_PATH:
        return Path(cfg.TENSORBOARD.CLASS_NAMES_PATH)
    beside = Path(cfg.DATA.PATH_TO_DATA_DIR, "df_action.xlsx")
    return beside if beside.is_file() else None


def _count_table(cfg: CfgNode) -> Path | None:
    table = _class_table(cfg)
    if table is not None and table.suffix != ".xlsx":
        table = Path(cfg.DATA.PATH_TO_DATA_DIR, "df_action.xlsx")
    return table if table is not None and table.is_file() else None


def _dataset(cfg: CfgNode) -> str:
    """The name of the data set, that of the phase that runs."""
    return (cfg.TRAIN if cfg.TRAIN.ENABLE else cfg.TEST).DATASET.lower()


def _data(cfg: CfgNode) -> DataSettings:
    data = cfg.DATA
    return DataSettings(
        annotation_dir=Path(data.PATH_TO_DATA_DIR),
        num_classes=cfg.MODEL.NUM_CLASSES,
        num_frames=data.NUM_FRAMES,
        sampling_rate=data.SAMPLING_RATE,
        frame_sampling=data.FRAME_SAMPLING,
        resample=data.RESAMPLE,
        frame_root=_path(data.PATH_PREFIX),
        video_root=_path(data.VIDEO_PREFIX),
        source=data.SOURCE,
        train_jitter_px=tuple(data.TRAIN_JITTER_SCALES),
        train_crop_px=data.TRAIN_CROP_SIZE,
        test_crop_px=data.TEST_CROP_SIZE,
        random_flip=data.RANDOM_FLIP,
        inverse_uniform=data.INV_UNIFORM_SAMPLE,
        num_views=cfg.TEST.NUM_ENSEMBLE_VIEWS,
        num_crops=cfg.TEST.NUM_SPATIAL_CROPS,
        unlabelled_frames=_dataset(cfg) == "charades",
        bad_clips=data.BAD_CLIPS,
        max_bad_fraction=data.MAX_BAD_FRACTION,
        dev_split=data.DEV_SPLIT,
    )


def _solver(cfg: CfgNode) -> SolverSettings:
    solver = cfg.SOLVER
    scale = cfg.NUM_SHARDS if solver.BASE_LR_SCALE_NUM_SHARDS else 1
    return SolverSettings(
        base_lr=solver.BASE_LR * scale,
        max_epoch=solver.MAX_EPOCH,
        policy=solver.LR_POLICY,
        steps=tuple(solver.STEPS),
        lrs=tuple(solver.LRS),
        cosine_end_lr=solver.COSINE_END_LR * scale,
        cosine_after_warmup=solver.COSINE_AFTER_WARMUP,
        restart_epochs=solver.RESTART_EPOCHS,
        restart_mult=solver.RESTART_MULT,
        plateau_patience=solver.PLATEAU_PATIENCE,
        plateau_factor=solver.PLATEAU_FACTOR,
        plateau_min_lr=solver.PLATEAU_MIN_LR * scale,
        warmup_epochs=solver.WARMUP_EPOCHS,
        warmup_start_lr=solver.WARMUP_START_LR * scale,
        method=solver.OPTIMIZING_METHOD,
        momentum=solver.MOMENTUM,
        dampening=solver.DAMPENING,
        nesterov=solver.NESTEROV,
        weight_decay=solver.WEIGHT_DECAY,
        bn_weight_decay=cfg.BN.WEIGHT_DECAY,
        zero_wd_1d=solver.ZERO_WD_1D_PARAM,
        clip_norm=solver.CLIP_GRAD_L2NORM,
        clip_value=solver.CLIP_GRAD_VAL,
    )


def _train(cfg: CfgNode) -> TrainSettings:
    train = cfg.TRAIN
    return TrainSettings(
        enable=train.ENABLE,
        eval_period=train.EVAL_PERIOD,
        checkpoint_period=train.CHECKPOINT_PERIOD,
        auto_resume=train.AUTO_RESUME,
        checkpoint=_path(train.CHECKPOINT_FILE_PATH),
        inflate=train.CHECKPOINT_INFLATE,
        clear_name_pattern=tuple(train.CHECKPOINT_CLEAR_NAME_PATTERN),
        precise_bn_batches=cfg.BN.NUM_BATCHES_PRECISE if cfg.BN.USE_PRECISE_STATS else 0,
        checkpoint_steps=train.CHECKPOINT_STEPS,
        keep_checkpoints=train.KEEP_CHECKPOINTS,
        accumulate=train.ACCUMULATE,
        skip_nonfinite=train.SKIP_NONFINITE,
        mix=train.MIX,
        mix_alpha=train.MIX_ALPHA,
        head_only=train.HEAD_ONLY,
        new_head=train.NEW_HEAD,
        early_stop_patience=train.EARLY_STOP_PATIENCE,
    )


def _tensorboard_dir(cfg: CfgNode) -> Path | None:
    if not cfg.TENSORBOARD.ENABLE:
        return None
    return Path(cfg.OUTPUT_DIR, cfg.TENSORBOARD.LOG_DIR or f"runs-{cfg.TRAIN.DATASET}")


def make_settings(cfg: CfgNode, problems: list[str]) -> RunSettings:
    """The settings of one run.

    Raises UserError with one line for each of `problems` and each value that cannot be used.
    """
    problems = [*problems, *check_choices(cfg), *_unused_keys(cfg)]
    try:
        check_schedule(_solver(cfg))
    except UserError as error:
        problems.append(str(error))
    if problems:
        raise UserError("\n".join(problems))
    return RunSettings(
        data=_data(cfg),
        input=InputSettings(
            mean=tuple(cfg.DATA.MEAN),
            std=tuple(cfg.DATA.STD),
            bgr=not cfg.DATA.REVERSE_INPUT_CHANNEL,
            alpha=cfg.SLOWFAST.ALPHA if cfg.MODEL.ARCH == "slowfast" else None,
        ),
        loader=LoaderSettings(
            train_batch=cfg.TRAIN.BATCH_SIZE * cfg.NUM_SHARDS,
            test_batch=cfg.TEST.BATCH_SIZE,
            num_workers=cfg.DATA_LOADER.NUM_WORKERS,
            pin_memory=cfg.DATA_LOADER.PIN_MEMORY and cfg.NUM_GPUS > 0,
            seed=cfg.RNG_SEED,
            sampler=cfg.TRAIN.SAMPLER,
            repeat_threshold=cfg.TRAIN.REPEAT_THRESHOLD,
        ),
        solver=_solver(cfg),
        loss=LossSettings(
            name=cfg.MODEL.LOSS_FUNC,
            params=dict(cfg.LOSS.PARAMS),
            class_counts=_path(cfg.LOSS.CLASS_COUNTS),
        ),
        metrics=MetricSettings(
            segments=cfg.METRICS.SEGMENTS,
            cuts=tuple(cfg.METRICS.SEGMENT_CUTS) or None,
            class_table=_class_table(cfg),
            count_table=_count_table(cfg),
            ensemble=cfg.DATA.ENSEMBLE_METHOD,
        ),
        train=_train(cfg),
        test=TestSettings(
            enable=cfg.TEST.ENABLE,
            checkpoint=_path(cfg.TEST.CHECKPOINT_FILE_PATH),
            results=cfg.TEST.SAVE_RESULTS_PATH,
        ),
        output_dir=Path(cfg.OUTPUT_DIR),
        device="cuda" if cfg.NUM_GPUS else "cpu",
        dist_backend=cfg.DIST_BACKEND,
        dist_timeout_sec=cfg.DIST_TIMEOUT_SEC,
        sync_bn=cfg.BN.NORM_TYPE == "sync_batchnorm",
        precision=cfg.TRAIN.PRECISION,
        seed=cfg.RNG_SEED,
        log_period=cfg.LOG_PERIOD,
        log_model_info=cfg.LOG_MODEL_INFO,
        tensorboard_dir=_tensorboard_dir(cfg),
        wandb_project=cfg.WANDB.PROJECT,
        dataset=_dataset(cfg),
        arch=cfg.MODEL.ARCH,
        base=base.kind(),
        config_yaml=cfg.dump(),
    )

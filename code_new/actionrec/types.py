"""The values that pass between the stages, and the settings of each stage.

Shapes: N clips in a batch, K clips in a split, C classes, T frames of a view, V temporal views, S
spatial crops, H x W pixels. Frames are RGB, channels last, grey levels of 0..255. Sizes are in
pixels, spans in frames. Settings are made once, at the border, from the YAML configuration; nothing
below sees it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


@dataclass(frozen=True)
class DataSettings:
    """Where the clips are and how frames and views are taken from them."""

    annotation_dir: Path  # holds train.csv and val.csv
    num_classes: int
    num_frames: int
    sampling_rate: int  # frames from one sampled frame to the next
    frame_sampling: str = "stride"  # stride | linspace
    resample: str = "fast"  # fast | exact: whole grey levels, or SlowFast's float32
    frame_root: Path | None = None  # the CSV's paths are relative to it
    video_root: Path | None = None  # holds <clip id>.mp4
    source: str = "auto"  # frames | video | auto: frames where they are, else video
    train_jitter_px: tuple[int, int] = (256, 320)  # range of the short side
    train_crop_px: int = 224
    test_crop_px: int = 256
    random_flip: bool = True
    inverse_uniform: bool = False  # draw 1 / short side uniformly, instead of the short side
    num_views: int = 10
    num_crops: int = 3
    unlabelled_frames: bool = False  # Charades has some; in Animal Kingdom an error
    bad_clips: str = "skip"  # skip | error: what a clip that cannot be read does
    dev_split: str = "auto"  # auto: dev.txt beside train.csv, if there is one | none | a path
    max_bad_fraction: float = 0.001  # of the clips of a split, before a run ends


@dataclass(frozen=True)
class InputSettings:
    """What happens to a batch on the device, between the frames and the model."""

    mean: tuple[float, float, float] = (0.45, 0.45, 0.45)
    std: tuple[float, float, float] = (0.225, 0.225, 0.225)
    bgr: bool = False
    alpha: int | None = None  # SlowFast: fast frames for one slow frame; None: one pathway


@dataclass(frozen=True)
class LoaderSettings:
    train_batch: int  # clips of one optimizer step, of all processes together
    test_batch: int  # in views for the multi-view test, in clips for validation
    num_workers: int = 2
    pin_memory: bool = False
    sampler: str = "uniform"  # of training, see data/clip_order.py
    repeat_threshold: float = 1e-3  # of the sampler repeat_factor: share of the clips
    seed: int = 0


@dataclass(frozen=True)
class SolverSettings:
    """Optimizer and learning rate; names follow SlowFast's SOLVER section."""

    base_lr: float
    max_epoch: int
    policy: str = "cosine"  # cosine | cosine_restarts | plateau | steps_with_relative_lrs
    steps: tuple[float, ...] = ()
    lrs: tuple[float, ...] = ()
    cosine_end_lr: float = 0.0
    cosine_after_warmup: bool = False
    restart_epochs: float = 10.0  # length of the first cycle of cosine_restarts
    restart_mult: float = 2.0  # from the length of one cycle to that of the next
    plateau_patience: int = 3  # validations without a better mAP
    plateau_factor: float = 0.1
    plateau_min_lr: float = 0.0
    warmup_epochs: float = 0.0
    warmup_start_lr: float = 0.01
    method: str = "sgd"  # sgd | adam | adamw
    momentum: float = 0.9
    dampening: float = 0.0
    nesterov: bool = True
    weight_decay: float = 1e-4
    bn_weight_decay: float = 0.0
    zero_wd_1d: bool = False  # no weight decay on biases and other one-dimensional parameters
    clip_norm: float = 0.0  # greatest L2 norm of all gradients together; 0: any
    clip_value: float = 0.0  # greatest size of one gradient; 0: any


@dataclass(frozen=True)
class LossSettings:
    name: str
    params: dict[str, Any] = field(default_factory=dict)
    class_counts: Path | None = None  # a workbook; None: counted in the training annotation


@dataclass(frozen=True)
class MetricSettings:
    segments: str = "train"  # train | workbook | all | published
    cuts: tuple[int, int] | None = None  # (h, t): head > h, tail <= t; None: the definition's own
    class_table: Path | None = None  # class names
    count_table: Path | None = None  # a workbook, for the counts of `workbook`
    ensemble: str = "max"  # max | mean | sum over the views of a clip


@dataclass(frozen=True)
class TrainSettings:
    enable: bool
    eval_period: int = 1
    checkpoint_period: int = 1
    auto_resume: bool = True
    checkpoint: Path | None = None  # initial weights
    inflate: bool = False
    clear_name_pattern: tuple[str, ...] = ()
    precise_bn_batches: int = 0  # 0: off; of each process
    checkpoint_steps: int = 0  # optimizer steps from one save inside an epoch to the next; 0: none
    keep_checkpoints: int = 0  # files of whole epochs; 0: all
    accumulate: int = 1  # parts of a process's share of a batch, run one after the other
    mix: str = "none"  # none | mixup | framestack, see engine/mixing.py
    mix_alpha: float = 0.2  # of mixup's Beta distribution
    head_only: bool = False  # all but the last linear layer keeps its weights and statistics
    new_head: bool = False  # the last linear layer is not taken from the initial weights
    skip_nonfinite: int = 0  # steps that may be left out for a loss or gradient that is not finite
    early_stop_patience: int = 0  # validations without a better mAP; 0: off


@dataclass(frozen=True)
class TestSettings:
    __test__ = False  # pytest would take it for a test
    enable: bool
    checkpoint: Path | None = None  # None: the one that training left in the output folder
    results: str = ""  # name of the pickle of scores and labels, relative to the output folder


@dataclass(frozen=True)
class RunSettings:
    """Everything that one run needs to know, besides the model."""

    data: DataSettings
    input: InputSettings
    loader: LoaderSettings
    solver: SolverSettings
    loss: LossSettings
    metrics: MetricSettings
    train: TrainSettings
    test: TestSettings
    output_dir: Path
    device: str = "cpu"  # cpu | cuda
    dist_backend: str = "nccl"  # gloo | nccl, between GPUs
    dist_timeout_sec: int = 1800
    sync_bn: bool = False
    precision: str = "float32"  # float32 | bf16 | fp16
    seed: int = 0
    log_period: int = 10
    log_model_info: bool = True
    tensorboard_dir: Path | None = None
    wandb_project: str = ""  # of Weights & Biases; empty: off
    dataset: str = "animalkingdom"
    arch: str = ""
    base: str = ""  # git | wheel | custom: where the SlowFast tree comes from
    config_yaml: str = ""  # the whole configuration, as it is stored in checkpoints


class Batch(NamedTuple):
    """frames (N, T, H, W, 3), targets (N, C) float32, clips (N,) int64: clip numbers.

    Frames are uint8, or float32 grey levels in 0..255 where DATA.RESAMPLE is `exact`.
    """

    frames: Any
    targets: Any
    clips: Any


@dataclass(frozen=True)
class ClipViews:
    """One clip, decoded once, with all its views as indices into it.

    bank (F, H, W, 3), of the type of Batch's frames: the distinct frames, short side already
    scaled; view_frames (V, T) int64: rows of `bank` of each temporal view; crop_offsets (S, 2)
    int64: top and left of each crop; crop_px: side of a crop. View number v * S + s is temporal
    view v with crop s, as upstream counts them.
    """

    bank: np.ndarray
    view_frames: np.ndarray
    crop_offsets: np.ndarray
    crop_px: int
    clip: int

"""What is looked at before upstream's own tools start, which would end in a traceback or worse."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from fvcore.common.config import CfgNode

from actionrec.data import DATASETS
from actionrec.errors import UserError
from actionrec.types import LossSettings
from slowfast.ak.choices import is_of_this_run


def check_before_upstream(cfg: CfgNode) -> Iterator[str]:
    """One line for each thing that stands against a start."""
    yield from _pickles(cfg)
    yield from _devices(cfg)
    yield from _other_run(cfg)


def _pickles(cfg: CfgNode) -> Iterator[str]:
    """Upstream unpickles Caffe2's files, which could run code; converted ones it reads as well.

    Whatever is enabled: a test falls back on the weights of the training.
    """
    for phase in ("TRAIN", "TEST"):
        path, kind = cfg[phase].CHECKPOINT_FILE_PATH, cfg[phase].CHECKPOINT_TYPE
        written = is_of_this_run(cfg, f"{phase}.CHECKPOINT_FILE_PATH", path)
        if path and not Path(path).is_file() and not written:
            yield f"{phase}.CHECKPOINT_FILE_PATH: no such file: {path}"
        elif path and kind == "caffe2":
            yield (
                f"{phase}.CHECKPOINT_TYPE: caffe2: {path} is a pickle, which could run code; "
                f"convert it once with tools/convert_checkpoint.py, then set {phase}."
                f"CHECKPOINT_TYPE pytorch and {phase}.CHECKPOINT_FILE_PATH to the new file"
            )
    scores = cfg.TENSORBOARD.PREDICTIONS_PATH
    if scores and not Path(scores).resolve().is_relative_to(Path(cfg.OUTPUT_DIR).resolve()):
        yield (
            f"TENSORBOARD.PREDICTIONS_PATH: {scores} is a pickle, which could run code; only one "
            "that a test left in OUTPUT_DIR is read"
        )


def _devices(cfg: CfgNode) -> Iterator[str]:
    import torch

    devices = torch.cuda.device_count()
    if not 0 <= cfg.NUM_GPUS <= devices:
        for_cpu = "" if devices else " for the CPU"
        yield (
            f"NUM_GPUS: {cfg.NUM_GPUS}, but torch sees {devices} here; use NUM_GPUS "
            f"{devices}{for_cpu}"
        )


def _other_run(cfg: CfgNode) -> Iterator[str]:
    """Upstream goes on from whatever lies in OUTPUT_DIR, and would report it as this run's."""
    if not (cfg.TRAIN.ENABLE and cfg.TRAIN.AUTO_RESUME):
        return
    from actionrec.engine.checkpoint import find_resume
    from actionrec.engine.output import changed_settings

    found = find_resume(Path(cfg.OUTPUT_DIR))
    changed = changed_settings(found.state, cfg.dump(), found.path) if found else []
    if found and changed:
        yield (
            f"{found.path} is from a run with other settings: {'; '.join(changed[:3])}; give this "
            "run an OUTPUT_DIR of its own, or set TRAIN.AUTO_RESUME False"
        )


def tell_loss(cfg: CfgNode) -> None:
    """Counts and parameters for our losses, which upstream's loop builds by name alone.

    Raises UserError for a loss that cannot be built.
    """
    import losses
    from actionrec.data.annotations import read_clips
    from actionrec.data.workbook import read_class_counts
    from actionrec.engine.criterion import build_criterion, check_loss, own_params
    from slowfast.models.losses import LOSS_OF_RUN, UPSTREAM_NAMES, run_as_text

    name, classes = cfg.MODEL.LOSS_FUNC, cfg.MODEL.NUM_CLASSES
    if not cfg.TRAIN.ENABLE or name in UPSTREAM_NAMES:
        return
    workbook = Path(cfg.LOSS.CLASS_COUNTS) if cfg.LOSS.CLASS_COUNTS else None
    loss = LossSettings(name=name, params=dict(cfg.LOSS.PARAMS), class_counts=workbook)
    check_loss(loss)
    if cfg.TRAIN.DATASET.lower() in DATASETS:
        annotation = Path(cfg.DATA.PATH_TO_DATA_DIR) / "train.csv"
        clips = read_clips(annotation, num_classes=classes, unlabelled_frames=True)
        build_criterion(loss, clips, num_classes=classes, max_epoch=cfg.SOLVER.MAX_EPOCH)
    else:
        counts = read_class_counts(workbook, classes).tolist() if workbook else None
        losses.set_run_counts(counts, params={name: own_params(loss)})
        try:
            losses.build(name, class_counts=counts, **own_params(loss))
        except ValueError as error:
            raise UserError(f"MODEL.LOSS_FUNC: {error}") from None
    os.environ[LOSS_OF_RUN] = run_as_text()

"""Upstream's own tools, untouched, behind our command: for the data sets that ours do not read.

Only the git base has them. They get our merged configuration as one file, so `_BASE_`, both styles
of overrides and an int for a float work for them too.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from fvcore.common.config import CfgNode

from actionrec.data import DATASETS
from actionrec.errors import UserError
from actionrec.types import LossSettings
from slowfast.ak import base


def run(cfg: CfgNode, problems: list[str], init_method: str) -> None:
    """Run upstream's run_net.py. Raises UserError for what stands in the way of its start."""
    if problems:
        raise UserError("\n".join(problems))
    if cfg.ENGINE == "auto":
        print("run_net: SlowFast's own loop runs this; MODEL.LOSS_FUNC may name our losses")
    _adapt(cfg)
    _check_checkpoints(cfg)
    _check_devices(cfg)
    _tell_loss(cfg)
    tools = base.folder().parent / "tools"
    sys.path.insert(1, str(tools))
    try:
        import run_net_original
    except ImportError as error:
        raise UserError(
            f"SlowFast's own tools cannot be imported here ({error}); prepare_dir_AR.sh --upstream "
            "git installs what they need"
        ) from None
    with tempfile.TemporaryDirectory(prefix="run_net_") as folder:
        if cfg.TRAIN.DATASET == "charades" or cfg.TEST.DATASET == "charades":
            _rewrite_annotation(cfg, Path(folder))
        merged = Path(folder) / "merged.yaml"
        merged.write_text(cfg.dump(), encoding="utf-8")
        shards = ["--num_shards", str(cfg.NUM_SHARDS), "--shard_id", str(cfg.SHARD_ID)]
        options = ["--cfg", str(merged), *shards, "--init_method", init_method]
        sys.argv = [str(tools / "run_net_original.py"), *options]
        run_net_original.main()


def _adapt(cfg: CfgNode) -> None:
    """What upstream means by what the configuration says."""
    for phase in (cfg.TRAIN, cfg.TEST):
        if phase.DATASET.lower() in DATASETS:
            phase.DATASET = "charades"  # the format that ours read is upstream's Charades
    if cfg.DATA.DECODING_BACKEND == "torchvision":
        print("run_net: DATA.DECODING_BACKEND: torchvision decodes no more; pyav does")
        cfg.DATA.DECODING_BACKEND = "pyav"
    cfg.DATA_LOADER.PIN_MEMORY = cfg.DATA_LOADER.PIN_MEMORY and cfg.NUM_GPUS > 0


def _rewrite_annotation(cfg: CfgNode, folder: Path) -> None:
    """Upstream's reader knows one spelling of the CSV; `folder` gets both splits in that one."""
    from actionrec.data.csv_rows import read_rows

    if not Path(cfg.DATA.PATH_PREFIX).is_dir():
        raise UserError(
            f"DATA.PATH_PREFIX: no such folder: {cfg.DATA.PATH_PREFIX!r}; with ENGINE upstream the "
            "clips are image folders, not videos"
        )
    for name in ("train.csv", "val.csv"):
        with (folder / name).open("w", encoding="utf-8") as file:
            file.write("original_vido_id video_id frame_id path labels\n")
            for _, clip, frame, path, labels in read_rows(Path(cfg.DATA.PATH_TO_DATA_DIR) / name):
                file.write(f'{clip} 0 {frame} {path} "{labels}"\n')
    cfg.DATA.PATH_TO_DATA_DIR = str(folder)


def _check_checkpoints(cfg: CfgNode) -> None:
    """Upstream unpickles Caffe2's files, which could run code; converted ones it reads as well."""
    for phase in ("TRAIN", "TEST"):
        path = cfg[phase].CHECKPOINT_FILE_PATH
        if path and cfg[phase].ENABLE and cfg[phase].CHECKPOINT_TYPE == "caffe2":
            raise UserError(
                f"{phase}.CHECKPOINT_TYPE: caffe2: {path} is a pickle, which could run code; "
                f"convert it once with tools/convert_checkpoint.py, then set {phase}."
                f"CHECKPOINT_TYPE pytorch and {phase}.CHECKPOINT_FILE_PATH to the new file"
            )


def _check_devices(cfg: CfgNode) -> None:
    import torch

    devices = torch.cuda.device_count()
    if devices < cfg.NUM_GPUS:
        raise UserError(
            f"NUM_GPUS: {cfg.NUM_GPUS}, but torch sees {devices} here; use NUM_GPUS {devices}"
            + (" for the CPU" if not devices else "")
        )


def _tell_loss(cfg: CfgNode) -> None:
    """Counts and parameters for our losses, which upstream's loop builds by name alone."""
    import losses
    from actionrec.data.annotations import read_clips
    from actionrec.engine.criterion import build_criterion, check_loss, own_params
    from slowfast.models.losses import LOSS_OF_RUN, UPSTREAM_NAMES, run_as_text

    name, classes = cfg.MODEL.LOSS_FUNC, cfg.MODEL.NUM_CLASSES
    if not cfg.TRAIN.ENABLE or name in UPSTREAM_NAMES:
        return
    counts = Path(cfg.LOSS.CLASS_COUNTS) if cfg.LOSS.CLASS_COUNTS else None
    loss = LossSettings(name=name, params=dict(cfg.LOSS.PARAMS), class_counts=counts)
    check_loss(loss)
    if cfg.TRAIN.DATASET.lower() in DATASETS:
        annotation = Path(cfg.DATA.PATH_TO_DATA_DIR) / "train.csv"
        clips = read_clips(annotation, num_classes=classes, unlabelled_frames=True)
        build_criterion(loss, clips, num_classes=classes, max_epoch=cfg.SOLVER.MAX_EPOCH)
    else:
        losses.set_run_counts(None, params={name: own_params(loss)})
        try:
            losses.build(name, **own_params(loss))
        except ValueError as error:
            raise UserError(
                f"MODEL.LOSS_FUNC: {error}; they are counted for {', '.join(DATASETS)} alone"
            ) from None
    os.environ[LOSS_OF_RUN] = run_as_text()

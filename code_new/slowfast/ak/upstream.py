"""Upstream's own tools, untouched, behind our command: for the data sets that ours do not read.

Only the git base has them. They get our merged configuration as one file, so `_BASE_`, both styles
of overrides and an int for a float work for them too.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from fvcore.common.config import CfgNode

from actionrec.data import DATASETS
from actionrec.data.dev_split import dev_split_path
from actionrec.errors import UserError
from slowfast.ak import base
from slowfast.ak.upstream_checks import check_before_upstream, tell_loss


def run(cfg: CfgNode, problems: list[str], init_method: str) -> None:
    """Run upstream's run_net.py. Raises UserError for what stands in the way of its start."""
    _adapt(cfg)
    problems = [*problems, *check_before_upstream(cfg)]
    if problems:
        raise UserError("\n".join(problems))
    if cfg.ENGINE == "auto":
        print("run_net: SlowFast's own loop runs this; MODEL.LOSS_FUNC may name our losses")
    tell_loss(cfg)
    tools = base.folder().parent / "tools"
    sys.path.insert(1, str(tools))
    try:
        import run_net_original
    except ImportError as error:
        raise UserError(
            f"SlowFast's own tools cannot be imported here ({error}); prepare_dir_AR.sh --upstream "
            "git installs what they need"
        ) from None
    _adapt_to_torchvision(cfg)
    with tempfile.TemporaryDirectory(prefix="run_net_") as folder:
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
    if dev_split_path(cfg.DATA.DEV_SPLIT, Path(cfg.DATA.PATH_TO_DATA_DIR)) is not None:
        print("run_net: DATA.DEV_SPLIT: SlowFast's own loop trains on all of train.csv")
    cfg.DATA_LOADER.PIN_MEMORY = cfg.DATA_LOADER.PIN_MEMORY and cfg.NUM_GPUS > 0


def _adapt_to_torchvision(cfg: CfgNode) -> None:
    from torchvision.extension import _has_ops

    if cfg.DETECTION.ENABLE and cfg.LOG_MODEL_INFO and not _has_ops():
        print("run_net: LOG_MODEL_INFO: off, as this torchvision's ROIAlign cannot be traced")
        cfg.LOG_MODEL_INFO = False


def _splits_in_use(cfg: CfgNode) -> list[str]:
    """The annotations that upstream's Charades data set will read in this run."""
    pictures = cfg.TENSORBOARD if cfg.TENSORBOARD.ENABLE else None
    uses = {
        "train.csv": cfg.TRAIN.ENABLE or (pictures and pictures.MODEL_VIS.ENABLE),
        "val.csv": cfg.TRAIN.ENABLE
        or cfg.TEST.ENABLE
        or (pictures and pictures.WRONG_PRED_VIS.ENABLE),
    }
    charades = {
        "train.csv": cfg.TRAIN.DATASET == "charades",
        "val.csv": "charades" in (cfg.TRAIN.DATASET, cfg.TEST.DATASET),
    }
    return [name for name, used in uses.items() if used and charades[name]]


def _rewrite_annotation(cfg: CfgNode, folder: Path) -> None:
    """Upstream's reader knows one spelling of the CSV; `folder` gets the splits in that one."""
    from actionrec.data.annotations import read_clips
    from actionrec.data.rows.csv_rows import read_rows

    names = _splits_in_use(cfg)
    for name in names:
        path = Path(cfg.DATA.PATH_TO_DATA_DIR) / name
        clips = read_clips(path, num_classes=cfg.MODEL.NUM_CLASSES, unlabelled_frames=True)
        first = Path(cfg.DATA.PATH_PREFIX, *clips.frame_paths(0, [0]))
        if not first.is_file():
            raise UserError(
                f"DATA.PATH_PREFIX: no such file: {first}; with ENGINE upstream the clips are "
                "image folders, not videos"
            )
        with (folder / name).open("w", encoding="utf-8") as file:
            file.write("original_vido_id video_id frame_id path labels\n")
            for _, clip, frame, frame_path, labels in read_rows(path):
                file.write(f'{clip} 0 {frame} {frame_path} "{labels}"\n')
    if names:
        cfg.DATA.PATH_TO_DATA_DIR = str(folder)

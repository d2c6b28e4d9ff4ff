"""Our configuration keys. Upstream calls `add_custom_config` on the git base, we on the wheel.

`docs/configs.md` is made from this table. SlowFast's own keys keep their names and meaning.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from fvcore.common.config import CfgNode


class Key(NamedTuple):
    default: Any  # its type is the key's type
    unit: str  # a unit, or the allowed values
    meaning: str


KEYS: dict[str, Key] = {
    "ENGINE": Key(
        "auto",
        "auto, ours, upstream",
        "Which training loop runs: ours for the datasets that it knows, upstream's for the rest.",
    ),
    "DATA.SOURCE": Key(
        "auto",
        "frames, video, auto",
        "Read image folders or video files; auto takes the frames where they are, else the videos.",
    ),
    "DATA.VIDEO_PREFIX": Key(
        "",
        "folder",
        "Holds <clip id>.mp4. Image folders are found below DATA.PATH_PREFIX.",
    ),
    "DATA.DEV_SPLIT": Key(
        "auto",
        "auto, none, file",
        "Clips of train.csv held out to choose best.pyth on, made by tools/make_split.py; auto: "
        "dev.txt in DATA.PATH_TO_DATA_DIR where it is there.",
    ),
    "DATA.BAD_CLIPS": Key(
        "skip",
        "skip, error",
        "A clip that cannot be read is left out and listed in bad_clips.csv, or ends the run.",
    ),
    "DATA.MAX_BAD_FRACTION": Key(
        0.001,
        "0 to 1",
        "Training and validation end when more than this part of a split's clips are bad.",
    ),
    "DATA.FRAME_SAMPLING": Key(
        "stride",
        "stride, linspace",
        "Which frames a view holds: every DATA.SAMPLING_RATE-th, as SlowFast's frame datasets "
        "(Charades), or evenly spaced over NUM_FRAMES x SAMPLING_RATE frames with both ends, as "
        "its video datasets (Kinetics); see docs/datasets.md.",
    ),
    "DATA.RESAMPLE": Key(
        "fast",
        "fast, exact",
        "Scaled pixels are whole grey levels (uint8, on average 0.3 or less from SlowFast's), or "
        "SlowFast's own (float32, at most 0.001 grey levels off; four times the memory).",
    ),
    "TRAIN.CHECKPOINT_STEPS": Key(
        0,
        "steps",
        "Save every so many optimizer steps within an epoch too; 0: after epochs only.",
    ),
    "TRAIN.KEEP_CHECKPOINTS": Key(
        0,
        "files",
        "How many checkpoints of whole epochs stay, the newest, beside best.pyth; 0: all.",
    ),
    "TRAIN.SAMPLER": Key(
        "uniform",
        "uniform, class_balanced, square_root, repeat_factor",
        "How often an epoch draws each clip: once, or those of rare classes more often.",
    ),
    "TRAIN.REPEAT_THRESHOLD": Key(
        0.001,
        "0 to 1",
        "repeat_factor: classes in a smaller share of the clips than this are repeated.",
    ),
    "TRAIN.MIX": Key(
        "none",
        "none, mixup, framestack",
        "Mix each clip with another of its batch: pixels and labels, or frames and labels.",
    ),
    "TRAIN.MIX_ALPHA": Key(0.2, "", "mixup: weights are drawn from Beta(alpha, alpha)."),
    "TRAIN.HEAD_ONLY": Key(
        False,
        "",
        "Train the last linear layer alone, the second stage of two-stage training.",
    ),
    "TRAIN.NEW_HEAD": Key(
        False,
        "",
        "Leave the last linear layer out of the initial weights (TRAIN.CHECKPOINT_FILE_PATH).",
    ),
    "TRAIN.PRECISION": Key(
        "float32",
        "float32, bf16, fp16",
        "Number format of convolutions; fp16 scales the gradients, bf16 need not.",
    ),
    "TRAIN.ACCUMULATE": Key(
        1,
        "parts",
        "Run a batch in so many parts, one after the other: the same step, less memory "
        "(batch norm sees a part).",
    ),
    "TRAIN.SKIP_NONFINITE": Key(
        0,
        "steps",
        "So many steps whose loss or gradient is NaN or infinite are left out before a run ends.",
    ),
    "SOLVER.CLIP_GRAD_L2NORM": Key(
        0.0, "", "Gradients are scaled down to this norm, all together; 0: never."
    ),
    "SOLVER.CLIP_GRAD_VAL": Key(0.0, "", "Each gradient is cut off at this size; 0: never."),
    "DIST_TIMEOUT_SEC": Key(
        1800, "seconds", "How long the processes of a run wait for one another."
    ),
    "SOLVER.RESTART_EPOCHS": Key(
        10.0,
        "epochs",
        "SOLVER.LR_POLICY cosine_restarts: length of the first cycle (a half cosine from BASE_LR "
        "to COSINE_END_LR).",
    ),
    "SOLVER.RESTART_MULT": Key(
        2.0,
        "at least 1",
        "cosine_restarts: how many times as long each cycle is as the last; with 10 epochs and 2, "
        "cycles end at epochs 10, 30, 70, 150.",
    ),
    "SOLVER.PLATEAU_PATIENCE": Key(
        3,
        "validations",
        "SOLVER.LR_POLICY plateau: after so many in a row without a better mAP the rate falls.",
    ),
    "SOLVER.PLATEAU_FACTOR": Key(
        0.1, "between 0 and 1", "plateau: what the rate is multiplied with when it falls."
    ),
    "SOLVER.PLATEAU_MIN_LR": Key(0.0, "", "plateau: the rate never falls below this."),
    "TRAIN.EARLY_STOP_PATIENCE": Key(
        0,
        "validations",
        "Training ends after so many in a row without a better mAP; 0: never before MAX_EPOCH.",
    ),
    "WANDB.PROJECT": Key(
        "",
        "name",
        "Write the scalars for this project of Weights & Biases too (pip install wandb): into "
        "OUTPUT_DIR, to be sent with `wandb sync`, unless WANDB_MODE says otherwise; empty: off.",
    ),
    "LOSS.PARAMS": Key(
        {},
        "name: value",
        "Parameters of the loss named by MODEL.LOSS_FUNC, see docs/losses.md; those under the "
        "name of a loss (`LOSS.PARAMS.LDAM.s`) are for it alone.",
    ),
    "LOSS.CLASS_COUNTS": Key(
        "",
        "workbook (.xlsx)",
        "Class counts for the losses; empty: the clips of the training annotation are counted.",
    ),
    "METRICS.SEGMENTS": Key(
        "train",
        "train, workbook, all, published",
        "Which counts divide the classes into head, middle and tail, see docs/metrics.md.",
    ),
    "METRICS.SEGMENT_CUTS": Key(
        [],
        "[h, t] in clips",
        "Head has more than h clips, tail at most t; empty: the definition's own cuts.",
    ),
    "METRICS.CLASS_TABLE": Key(
        "",
        "workbook (.xlsx) or JSON",
        "Class names, and the counts of the segments `workbook`; "
        "empty: df_action.xlsx in DATA.PATH_TO_DATA_DIR where there is one.",
    ),
}


def add_keys(cfg: CfgNode, keys: dict[str, Key]) -> None:
    """Add each key that `cfg` does not have, with its default; makes the sections on the way."""
    for name, key in keys.items():
        *sections, leaf = name.split(".")
        node = cfg
        for section in sections:
            if section not in node:
                node[section] = CfgNode()
            node = node[section]
        if leaf not in node:
            node[leaf] = (
                CfgNode(key.default, new_allowed=True) if key.default == {} else key.default
            )


def add_custom_config(_C: CfgNode) -> None:
    add_keys(_C, KEYS)

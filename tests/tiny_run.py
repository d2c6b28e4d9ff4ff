"""A whole run small enough for a test: a tiny model, made-up clips, and its settings.

As a program it is one process of such a run: `python tiny_run.py CLIPS OUTPUT [NAME=VALUE ...]`,
where `1:NAME=VALUE` holds for process 1 alone; after `--launch {"processes": 2}` it starts them.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import nn

from actionrec import launched
from actionrec.engine import checkpoint
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

NUM_CLASSES = 3
COLOURS = np.array([(200, 30, 30), (30, 200, 30), (30, 30, 200)], dtype=np.uint8)


class Tiny(nn.Module):
    """Mean colour of the only pathway -> logits; scores in evaluation, as SlowFast's heads do."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv3d(3, 8, 1)
        self.bn = nn.BatchNorm3d(8)
        self.dropout = nn.Dropout(0.5)
        self.head = nn.Linear(8, NUM_CLASSES)

    def forward(self, pathways):
        features = self.bn(self.conv(pathways[0])).relu().mean((2, 3, 4))
        logits = self.head(self.dropout(features))
        return logits if self.training else logits.sigmoid()


def write_split(root, split, num_clips, seed):
    rng = np.random.default_rng(seed)
    rows = ["original_vido_id video_id frame_id path labels type"]
    for clip in range(num_clips):
        clip_id = f"{split.upper()}{clip:02d}"
        labels = sorted(rng.choice(NUM_CLASSES, size=1 + clip % 2, replace=False))
        frame = COLOURS[labels].mean(axis=0) + rng.normal(0, 8, (24, 32, 3))
        (root / "image" / clip_id).mkdir(parents=True)
        for number in range(1, 7):
            path = f"{clip_id}/{clip_id}_t{number:06d}.png"
            cv2.imwrite(str(root / "image" / path), frame.clip(0, 255).astype(np.uint8)[..., ::-1])
            rows.append(f"{clip_id} {clip} {number} {path} {','.join(map(str, labels))} {split}")
    (root / "annot").mkdir(exist_ok=True)
    (root / "annot" / f"{split}.csv").write_text("\n".join(rows) + "\n")


def make_settings(clips, output_dir, **changes):
    settings = RunSettings(
        data=DataSettings(
            annotation_dir=clips / "annot",
            num_classes=NUM_CLASSES,
            num_frames=4,
            sampling_rate=2,
            frame_root=clips / "image",
            train_jitter_px=(16, 20),
            train_crop_px=16,
            test_crop_px=16,
            num_views=2,
            num_crops=3,
        ),
        input=InputSettings(),
        loader=LoaderSettings(train_batch=6, test_batch=4, num_workers=0),
        solver=SolverSettings(base_lr=0.2, max_epoch=6),
        loss=LossSettings("bce_loss"),
        metrics=MetricSettings(cuts=(10, 5)),
        train=TrainSettings(True, eval_period=2, precise_bn_batches=100),
        test=TestSettings(True, results="results.pkl"),
        output_dir=output_dir,
        arch="tiny",
        config_yaml="MODEL: {LOSS_FUNC: bce_loss}\n",
    )
    return dataclasses.replace(settings, **changes)


def weights(output_dir, epoch=6):
    return checkpoint.load_checkpoint(checkpoint.checkpoint_path(output_dir, epoch))["model_state"]


def same(one, other):
    return all(torch.equal(one[name], other[name]) for name in one | other)


def json_stats(output_dir):
    lines = (output_dir / "stdout.log").read_text().splitlines()
    return [json.loads(line.split("json_stats: ")[1]) for line in lines if "json_stats" in line]


def changed(settings, *assignments):
    """The settings with `train.accumulate=2` and the like carried out."""
    for assignment in assignments:
        name, _, text = assignment.partition("=")
        rank, colon, of_rank = name.partition(":")
        if colon and int(rank) != launched.rank():
            continue
        name = of_rank or name
        section, _, field = name.rpartition(".")
        owner = getattr(settings, section) if section else settings
        value = type(getattr(owner, field))(json.loads(text))
        owner = dataclasses.replace(owner, **{field: value})
        settings = dataclasses.replace(settings, **{section: owner}) if section else owner
    return settings


def main(argv):
    if argv[0] == "--launch":
        from actionrec.engine.launch import launch

        return launch([__file__, *argv[2:]], **json.loads(argv[1]))
    from actionrec.engine.run import run

    clips, output_dir, *assignments = argv
    settings = make_settings(Path(clips), Path(output_dir))
    run(changed(settings, *assignments), Tiny)
    return 0


if __name__ == "__main__":
    from actionrec import front_door

    sys.exit(front_door.answer("tiny_run", lambda: main(sys.argv[1:])))

"""What the head of a trained model sees of each clip, computed once and kept in one file.

F features, the inputs of the last linear layer, averaged over its positions; the centre view.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from actionrec.atomic_file import atomic_file
from actionrec.data.bad_clips import BadClips
from actionrec.data.batching import val_loader
from actionrec.data.clip_table import ClipTable
from actionrec.data.dataset import ValDataset
from actionrec.data.decoding import FrameSource
from actionrec.data.splits import Splits
from actionrec.engine import checkpoint
from actionrec.engine.final_test import check_same_input
from actionrec.engine.initial_weights import load_initial_weights
from actionrec.engine.output import flat_settings
from actionrec.models.precision import Precision
from actionrec.models.video_model import VideoModel, last_linear
from actionrec.progress import Progress
from actionrec.randomness import seed_start
from actionrec.types import InputSettings, RunSettings

FILE_NAME = "features.npz"
# The features do not depend on them.
_NO_MATTER = tuple(
    "LOSS. SOLVER. METRICS. MODEL.LOSS_FUNC RNG_SEED OUTPUT_DIR TEST. DATA_LOADER. LOG_ "
    "TENSORBOARD. WANDB. TRAIN.CHECKPOINT_PERIOD TRAIN.EVAL_PERIOD TRAIN.BATCH_SIZE".split()
)


@dataclass(frozen=True, eq=False)
class Features:
    """train and test (K, F) float32 in the order of the annotation, NaN for a clip without pixels.

    key: what they were computed from, see `features_key`.
    """

    train: np.ndarray
    test: np.ndarray
    key: str


class HeadInputs(VideoModel):
    """frames (N, T, H, W, 3) -> the inputs of the backbone's last linear layer (N, F) float32."""

    def __init__(
        self,
        backbone: nn.Module,
        num_classes: int,
        settings: InputSettings,
        precision: Precision | None = None,
    ) -> None:
        super().__init__(backbone, settings, precision)
        _, head = last_linear(backbone, num_classes)
        self.num_features = head.in_features
        self._seen = torch.empty(0)
        head.register_forward_pre_hook(self._note)

    def _note(self, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self._seen = inputs[0]

    def forward(self, frames: Tensor) -> Tensor:
        super().forward(frames)
        seen = self._seen.float()
        return seen.flatten(1, -2).mean(1) if seen.ndim > 2 else seen


def features_key(settings: RunSettings, weights: Path) -> str:
    """Hashes of the checkpoint, the annotation and what of the configuration matters."""
    with weights.open("rb") as file:
        of_weights = hashlib.file_digest(file, "sha256").hexdigest()
    config = {
        name: value
        for name, value in flat_settings(yaml.safe_load(settings.config_yaml)).items()
        if not name.startswith(_NO_MATTER)
    }
    files = {name: h for name, h in checkpoint.file_hashes(settings).items() if name != "config"}
    return json.dumps({"weights": of_weights, "files": files, "config": config}, sort_keys=True)


def cached_features(
    path: Path,
    settings: RunSettings,
    splits: Splits,
    weights: Path,
    build_model: Callable[[], nn.Module],
) -> Features:
    """The features at `path`; computed, and written there, where they are of something else.

    weights: the checkpoint of the backbone. Raises UserError.
    """
    key = features_key(settings, weights)
    found = _load(path)
    if found is not None and found.key == key:
        print(f"features from {path}", flush=True)
        return found
    features = _compute(settings, splits, weights, build_model, path.parent, key)
    with atomic_file(path) as file:
        np.savez(file, train=features.train, test=features.test, key=np.asarray(key))
    return features


def _load(path: Path) -> Features | None:
    """None where there are none, or the file is damaged: then they are computed again."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return Features(file["train"], file["test"], str(file["key"]))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _compute(
    settings: RunSettings,
    splits: Splits,
    weights: Path,
    build_model: Callable[[], nn.Module],
    folder: Path,
    key: str,
) -> Features:
    state = checkpoint.load_checkpoint(weights)
    seed_start(0)  # of what the checkpoint does not hold
    precision = Precision(settings.precision, settings.device)
    model = HeadInputs(build_model(), settings.data.num_classes, settings.input, precision)
    report = load_initial_weights(
        model.backbone,
        state["model_state"],
        clear_name_pattern=settings.train.clear_name_pattern,
        inflate=settings.train.inflate,
    )
    print("\n".join([f"backbone from {weights}", *report.lines()]), flush=True)
    check_same_input(state, settings, splits.class_names, weights)
    model = model.to(settings.device)
    bad_clips = BadClips(
        settings.data.bad_clips, settings.data.max_bad_fraction, folder / "bad_clips.csv"
    )

    def of_split(table: ClipTable, source: FrameSource) -> np.ndarray:
        loader = val_loader(ValDataset(table, source, settings.data), settings.loader, bad_clips)
        features = np.full((len(table), model.num_features), np.nan, dtype=np.float32)
        for batch in Progress(len(loader), f"features of {table.source}", "batch").over(loader):
            if batch is not None:
                features[np.asarray(batch.clips)] = model(batch.frames).cpu().numpy()
        return features

    model.eval()
    with torch.inference_mode():
        train = of_split(splits.train_clips, splits.train_pixels)
        return Features(train, of_split(splits.val, splits.val_source), key)

"""Scores of a split: one centre view a clip for validation, all views of each clip for the test."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch

from actionrec.data.batching import view_batches
from actionrec.metrics.ensemble import ViewEnsemble
from actionrec.models.video_model import VideoModel
from actionrec.progress import Progress
from actionrec.types import Batch, ClipViews


@torch.inference_mode()
def score_clips(
    model: VideoModel, batches: Iterable[Batch], num_clips: int, num_classes: int
) -> tuple[np.ndarray, np.ndarray]:
    """(scores, targets), each (K, C) float32, in the order of the annotation."""
    model.eval()
    scores = np.full((num_clips, num_classes), np.nan, dtype=np.float32)
    targets = np.zeros((num_clips, num_classes), dtype=np.float32)
    for batch in batches:
        clips = np.asarray(batch.clips)
        scores[clips] = model(batch.frames).float().cpu().numpy()
        targets[clips] = np.asarray(batch.targets)
    return scores, targets


@torch.inference_mode()
def score_views(
    model: VideoModel,
    clips: Iterable[ClipViews],
    ensemble: ViewEnsemble,
    *,
    num_clips: int,
    batch_size: int,
) -> np.ndarray:
    """Scores (K, C) float64 over all views of each clip; `batch_size` views run at a time."""
    model.eval()
    with Progress(num_clips, "test", "clip") as progress:
        for clip in clips:
            for frames, views in view_batches(clip, batch_size):
                scores = model(frames).float().cpu().numpy()
                ensemble.add(np.full(len(scores), clip.clip), np.asarray(views), scores)
            progress.update(1)
    return ensemble.result()

"""Scores of a split: one centre view a clip for validation, all views of each clip for the test."""

from __future__ import annotations

import time
from collections.abc import Iterable

import numpy as np
import torch

from actionrec.data.batching import view_batches
from actionrec.engine.logging import log_json_stats, test_iter_stats
from actionrec.metrics.ensemble import ViewEnsemble
from actionrec.models.video_model import VideoModel
from actionrec.progress import Progress
from actionrec.types import Batch, ClipViews


@torch.inference_mode()
def score_clips(
    model: VideoModel, batches: Iterable[Batch | None], num_clips: int, num_classes: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores and targets, each (K, C) float32, in the order of the annotation, and (K,) bool.

    The last is False for clips that are in no batch, because they could not be read.
    """
    model.eval()
    scores = np.zeros((num_clips, num_classes), dtype=np.float32)
    targets = np.zeros((num_clips, num_classes), dtype=np.float32)
    read = np.zeros(num_clips, dtype=bool)
    for batch in batches:
        if batch is None:
            continue
        clips = np.asarray(batch.clips)
        scores[clips] = model(batch.frames).float().cpu().numpy()
        targets[clips] = np.asarray(batch.targets)
        read[clips] = True
    return scores, targets, read


@torch.inference_mode()
def score_views(
    model: VideoModel,
    clips: Iterable[ClipViews | None],
    ensemble: ViewEnsemble,
    *,
    num_clips: int,
    batch_size: int,
    log_period: int,
) -> None:
    """Score all views of each clip into `ensemble`; `batch_size` views run at a time.

    A clip that could not be read comes as None, and its views stay unscored.
    """
    model.eval()
    started = time.monotonic()
    with Progress(num_clips, "test", "clip") as progress:
        for done, clip in enumerate(clips, start=1):
            progress.update(1)
            if clip is None:
                continue
            for frames, views in view_batches(clip, batch_size, model.device):
                scores = model(frames).float().cpu().numpy()
                ensemble.add(np.full(len(scores), clip.clip), np.asarray(views), scores)
            if done % log_period == 0:
                took = (time.monotonic() - started) / done
                stats = test_iter_stats(
                    iteration=done - 1, time_diff=took, eta_sec=took * (num_clips - done)
                )
                log_json_stats(stats)

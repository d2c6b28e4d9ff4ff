"""The multi-view test: score every clip, save the scores, log the table and where all lies."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from actionrec import launched
from actionrec.data.bad_clips import BadClips
from actionrec.data.batching import test_loader
from actionrec.data.dataset import TestDataset
from actionrec.data.splits import Splits
from actionrec.engine import checkpoint, distributed
from actionrec.engine.evaluate import score_views
from actionrec.engine.logging import log_json_stats
from actionrec.engine.results import save_results
from actionrec.engine.scores_file import FILE_NAME, Scores, save_scores
from actionrec.engine.stopping import stop_together, until_signal
from actionrec.errors import Incomplete, UserError
from actionrec.metrics.ensemble import ViewEnsemble
from actionrec.metrics.floors import prior_floor, random_floor
from actionrec.metrics.protocols import MapSummary, summarize
from actionrec.models.video_model import VideoModel
from actionrec.report.tables import map_table
from actionrec.stop_signals import StopSignals
from actionrec.types import RunSettings

logger = logging.getLogger(__name__)


def check_same_input(
    state: dict[str, Any], settings: RunSettings, class_names: tuple[str, ...], path: Path
) -> None:
    """Warn where a checkpoint was trained on other pixels or other classes than it is tested on."""
    trained, tested = state.get("input") or {}, checkpoint.input_geometry(settings)
    for name, value in trained.items():
        if name not in ("train_crop_px", "test_crop_px") and tested.get(name) != value:
            logger.warning(
                "%s was trained with %s %s and is tested with %s",
                path,
                name,
                value,
                tested.get(name),
            )
    names = state.get("class_names") or []
    other = [c for c, (a, b) in enumerate(zip(names, class_names, strict=False)) if a != b]
    if other:
        first = other[0]
        logger.warning(
            "%s names %d classes otherwise, the first is %d: %r there, %r here",
            path,
            len(other),
            first,
            names[first],
            class_names[first],
        )


def final_test(
    settings: RunSettings,
    splits: Splits,
    model: VideoModel,
    tested: Path,
    bad_clips: BadClips,
    stop: StopSignals,
) -> None:
    """Test `model`, whose weights are those of the checkpoint `tested`.

    Each of several processes scores a share of the clips, and the main one concludes.

    Saving and the metric do not keep each other back. Raises UserError for what failed, and
    Incomplete when clips could not be read: these keep their place among the saved scores, as NaN,
    and the metric is over the others. Raises Stopped after a signal: a test is not continued.
    """
    data, clips = settings.data, splits.val
    num_views = data.num_views * data.num_crops
    ensemble = ViewEnsemble(len(clips), data.num_classes, num_views, settings.metrics.ensemble)
    shares = test_loader(TestDataset(clips, splits.val_source, data), settings.loader, bad_clips)
    score_views(
        model,
        until_signal(shares, stop),
        ensemble,
        num_clips=len(shares),
        batch_size=settings.loader.test_batch,
        log_period=settings.log_period,
    )
    stop_together(stop, f"{tested} is whole, its test was not finished")
    ensemble.merge(distributed.sum_array)
    bad_clips.merge(distributed.gather_texts, may_end_run=False)
    if launched.is_main():
        _conclude(settings, splits, ensemble, tested, bad_clips)
    distributed.wait_for_all()


def _conclude(
    settings: RunSettings,
    splits: Splits,
    ensemble: ViewEnsemble,
    tested: Path,
    bad_clips: BadClips,
) -> None:
    data, clips = settings.data, splits.val
    read = np.flatnonzero(ensemble.complete())
    if not len(read):
        raise UserError(f"none of the {len(clips)} test clips could be read, see above")
    scores, targets = ensemble.result_of(read), clips.targets(data.num_classes)
    lines = [
        "this run's files",
        f"log          {settings.output_dir / 'stdout.log'}",
        f"checkpoint   {tested}",
    ]
    failures: list[str] = []
    if settings.test.results:
        path = settings.output_dir / settings.test.results
        every = np.full(targets.shape, np.nan)
        every[read] = scores
        ids, names = tuple(clips.ids), splits.class_names
        try:
            table = save_results(path, ids=ids, class_names=names, scores=every, targets=targets)
            save_scores(path.parent / FILE_NAME, _scores(settings, splits, every, targets, tested))
            lines.append(f"predictions  {table}, {path.name}, {FILE_NAME}")
        except OSError as error:
            place = error.filename2 or error.filename or path
            failures.append(f"after the test: {place} could not be written: {error.strerror}")
    try:
        logger.info("%s", _table(settings, splits, scores, targets[read]))
    except UserError as error:
        failures.append(f"after the test: {error}")
    logger.info("%s", "\n".join(lines))
    if failures:
        raise UserError("\n".join(failures))
    if len(read) < len(clips):
        raise Incomplete(
            f"{len(clips) - len(read)} of {len(clips)} test clips could not be read, see "
            f"{bad_clips.path}; the table is over the other {len(read)}"
        )


def _scores(
    settings: RunSettings, splits: Splits, scores: np.ndarray, targets: np.ndarray, tested: Path
) -> Scores:
    data, train = settings.data, splits.train
    about = {
        "views": data.num_views * data.num_crops,
        "ensemble": settings.metrics.ensemble,
        "checkpoint": str(tested),
        "loss": settings.loss.name,
        "seed": settings.seed,
        "arch": settings.arch,
        "hashes": checkpoint.file_hashes(settings),
    }
    counts = None if train is None else train.class_counts(data.num_classes)
    return Scores(tuple(splits.val.ids), splits.class_names, scores, targets, counts, about)


def _table(settings: RunSettings, splits: Splits, scores: np.ndarray, targets: np.ndarray) -> str:
    segments = splits.segments
    summary = summarize(scores, targets, segments)
    floors: dict[str, MapSummary] = {"random": random_floor(targets, segments)}
    if splits.train is not None:
        counts = splits.train.class_counts(settings.data.num_classes)
        floors["class prior"] = prior_floor(counts, targets, segments)
    stats: dict[str, Any] = {"split": "test_final", "map": f"{100 * summary.overall:.2f}"}
    for name in ("head", "middle", "tail"):
        stats[f"map_{name}"] = f"{100 * getattr(summary, name):.2f}"
    log_json_stats(stats)
    views = f"{settings.data.num_views} x {settings.data.num_crops} views"
    title = (
        f"test of {len(scores)} of {len(splits.val)} clips, "
        f"{settings.metrics.ensemble} over {views} a clip"
    )
    return f"{title}\n{map_table(summary, floors)}"

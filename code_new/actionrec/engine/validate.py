"""Validation during training: the centre view of each clip, the same pixels every time."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import numpy as np

from actionrec.data.bad_clips import BadClips
from actionrec.data.batching import val_loader
from actionrec.data.dataset import ValDataset
from actionrec.data.splits import Splits
from actionrec.engine import distributed
from actionrec.engine.evaluate import score_clips
from actionrec.engine.logging import log_json_stats, val_epoch_stats, val_iter_stats
from actionrec.engine.scalars import ScalarWriter
from actionrec.engine.stopping import stop_together, until_signal
from actionrec.metrics.protocols import MapSummary, summarize
from actionrec.models.video_model import VideoModel
from actionrec.progress import Progress
from actionrec.stop_signals import StopSignals
from actionrec.types import Batch, RunSettings

logger = logging.getLogger(__name__)


class Validation:
    """The validation split, opened once; scores it with one centre view a clip."""

    def __init__(self, settings: RunSettings, splits: Splits, bad_clips: BadClips) -> None:
        self.settings, self.splits = settings, splits
        self.clips, source = splits.validation
        dataset = ValDataset(self.clips, source, settings.data)
        self.bad_clips = bad_clips
        self.batches = val_loader(dataset, settings.loader, bad_clips)

    def evaluate(
        self, model: VideoModel, epoch: int, scalars: ScalarWriter, stop: StopSignals
    ) -> MapSummary:
        """Score, log and return the mAP after `epoch`, counted from 0.

        Each of several processes scores a share of the batches; all get the mAP of the whole.
        Raises Stopped after a signal.
        """
        started = time.monotonic()
        scores, targets, read = score_clips(
            model,
            until_signal(self._logged(epoch), stop),
            len(self.clips),
            self.settings.data.num_classes,
        )
        stop_together(stop, f"epoch {epoch + 1} is saved, its validation was not finished")
        scores, targets, read = map(distributed.sum_array, (scores, targets, read))
        self.bad_clips.merge(distributed.gather_texts)
        if not read.all():
            logger.warning(
                "validation of %d of %d clips: the others could not be read, see above",
                np.count_nonzero(read),
                len(read),
            )
        summary = summarize(scores[read], targets[read], self.splits.segments)
        stats = val_epoch_stats(
            epoch=epoch,
            max_epoch=self.settings.solver.max_epoch,
            time_diff=time.monotonic() - started,
            mean_ap=summary.overall,
            map_head=summary.head,
            map_middle=summary.middle,
            map_tail=summary.tail,
        )
        log_json_stats(stats)
        for name in ("overall", "head", "middle", "tail"):
            scalars.write(f"Val/mAP_{name}", getattr(summary, name), epoch)
        return summary

    def _logged(self, epoch: int) -> Iterator[Batch | None]:
        """The batches, with a `val_iter` line every LOG_PERIOD of them."""
        started = time.monotonic()
        batches = Progress(len(self.batches), "validation", "batch").over(self.batches)
        for iteration, batch in enumerate(batches):
            yield batch
            if (iteration + 1) % self.settings.log_period == 0:
                took = (time.monotonic() - started) / (iteration + 1)
                stats = val_iter_stats(
                    epoch=epoch,
                    max_epoch=self.settings.solver.max_epoch,
                    iteration=iteration,
                    num_iterations=len(self.batches),
                    time_diff=took,
                    eta_sec=took * (len(self.batches) - iteration - 1),
                )
                log_json_stats(stats)

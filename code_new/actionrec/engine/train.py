"""Training: epochs of steps, precise batch norm, validation, checkpoints.

Randomness has no state: the order of an epoch comes from (seed, epoch), the augmentation of a clip
from (seed, epoch, clip), the dropout of a step from (seed, step, process). So epoch and step say
all that a resume needs, in the middle of an epoch too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator

import numpy as np
from torch import Tensor

from actionrec.data.batching import ClipLoader, train_loader
from actionrec.data.clip_order import draw_rates, effect
from actionrec.data.dataset import TrainDataset
from actionrec.engine import checkpoint, distributed
from actionrec.engine.logging import (
    log_json_stats,
    train_epoch_stats,
    train_iter_stats,
)
from actionrec.engine.patience import extended, should_stop
from actionrec.engine.precise_bn import update_batch_norm
from actionrec.engine.schedule import learning_rate
from actionrec.engine.train_step import Place
from actionrec.engine.training import Training
from actionrec.engine.validate import Validation
from actionrec.errors import Stopped, UserError
from actionrec.progress import Progress

logger = logging.getLogger(__name__)

# Precise batch norm draws its clips under epoch numbers of its own: it never disturbs training.
PRECISE_BN_EPOCH = 1_000_000
_LONG_WAIT = 0.3  # share of an epoch that is worth a hint
_LONG_EPOCH_SEC = 30.0  # shorter ones are mostly the start of the workers


def train(run: Training) -> None:
    """Train from where `run` is to SOLVER.MAX_EPOCH, saving and validating as the settings say.

    An epoch is saved before it is validated: what was trained outlives a validation that fails. A
    resumed run validates the saved epoch once more, as it may have been stopped in between. Raises
    Stopped after a signal, with all that was trained saved.
    """
    settings = run.settings
    dataset = TrainDataset(
        run.splits.train_clips, run.splits.train_pixels, settings.data, settings.seed
    )
    batches = train_loader(dataset, settings.loader, run.bad_clips)
    validation = Validation(settings, run.splits, run.bad_clips)
    steps_per_epoch = len(batches)
    steps_left = steps_per_epoch * (settings.solver.max_epoch - run.epoch) - run.step
    _tell_of_sampler(run, dataset)
    run.table.resume(run.epoch)
    try:
        with Progress(steps_left, "train", "step") as progress:
            _train_epochs(run, batches, validation, progress)
    finally:
        run.scalars.close()


def _train_epochs(
    run: Training, batches: ClipLoader, validation: Validation, progress: Progress
) -> None:
    settings, steps_per_epoch = run.settings, len(batches)
    if run.epoch and not run.step and run.is_due(settings.train.eval_period):
        _validate(run, validation)
        run.writer.wait()  # training starts processes, as validation does
    while run.epoch < settings.solver.max_epoch and not _has_stalled(run):
        _train_epoch(run, batches, steps_per_epoch, progress)
        evaluate = run.is_due(settings.train.eval_period, ahead=1)
        save = run.is_due(settings.train.checkpoint_period, ahead=1)
        if settings.train.precise_bn_batches and (evaluate or save):
            _precise_batch_norm(run, batches, steps_per_epoch)
        else:
            distributed.copy_buffers_from_main(run.model.backbone)
        run.end_epoch()
        if save:
            run.save(last=run.epoch == settings.solver.max_epoch)
        if evaluate:
            _validate(run, validation)
    if _has_stalled(run) and run.epoch < settings.solver.max_epoch:
        _end_early(run)


def _tell_of_sampler(run: Training, dataset: TrainDataset) -> None:
    loader, segments = run.settings.loader, run.splits.segments
    if loader.sampler == "uniform":
        return
    targets = dataset.table.targets(run.settings.data.num_classes)
    rates = draw_rates(loader.sampler, targets, loader.repeat_threshold)
    of_class = np.full(targets.shape[1], "other")
    for name in ("head", "middle", "tail"):
        of_class[getattr(segments, name)] = name
    logger.info("%s", effect(loader.sampler, rates, targets, of_class))


def _has_stalled(run: Training) -> bool:
    """Whether the validations are over for want of progress, with TRAIN.EARLY_STOP_PATIENCE."""
    return should_stop(run.history, run.settings.train.early_stop_patience)


def _end_early(run: Training) -> None:
    logger.info(
        "training ends after epoch %d: %d validations brought no better mAP than %.2f %%",
        run.epoch,
        run.settings.train.early_stop_patience,
        100 * run.best_map,
    )
    run.writer.wait()
    path = checkpoint.checkpoint_path(run.settings.output_dir, run.epoch)
    if not path.is_file():  # no save was due, or the disk was full
        run.save(last=True)


def _validate(run: Training, validation: Validation) -> None:
    run.writer.wait()  # validation starts processes, which must not inherit a lock of a thread
    try:
        summary = validation.evaluate(run.model, run.epoch - 1, run.scalars, run.stop)
    except Stopped:
        if not run.is_due(run.settings.train.checkpoint_period):  # else the epoch is saved
            run.save(last=True)
        distributed.wait_for_all()
        raise
    run.history = extended(run.history, run.epoch, summary.overall)
    run.table.put(
        run.epoch,
        val_map=summary.overall,
        val_map_head=summary.head,
        val_map_middle=summary.middle,
        val_map_tail=summary.tail,
    )
    if summary.overall > run.best_map:
        run.best_map = summary.overall
        run.save_best()


def _train_epoch(run: Training, batches: ClipLoader, num_steps: int, progress: Progress) -> None:
    """The steps of an epoch that are left, from `run.step` on."""
    settings, solver, epoch = run.settings, run.settings.solver, run.epoch
    run.model.train()
    run.criterion.set_epoch(epoch)
    batches.set_epoch(epoch, run.step)
    recent: list[float] = []
    started = clock = time.monotonic()
    first_step = run.step
    rate = learning_rate(solver, epoch + (num_steps - 1) / num_steps, run.history)
    for step, batch in enumerate(batches, start=first_step):
        waited = time.monotonic() - clock
        rate = learning_rate(solver, epoch + step / num_steps, run.history)
        place = Place(epoch, step, epoch * num_steps + step, rate)
        loss = run.train_step.take(batch, place)
        if loss is not None:
            recent.append(loss)
            run.sums.losses, run.sums.steps = run.sums.losses + loss, run.sums.steps + 1
        run.step = step + 1
        progress.update()
        now = time.monotonic()
        run.sums.seconds, run.sums.waited = run.sums.seconds + now - clock, run.sums.waited + waited
        if recent and run.step % settings.log_period == 0:
            steps_left = num_steps * (solver.max_epoch - epoch) - run.step
            stats = train_iter_stats(
                epoch=epoch,
                max_epoch=solver.max_epoch,
                iteration=step,
                num_iterations=num_steps,
                dt=now - clock,
                dt_data=waited,
                eta_sec=(now - started) / (run.step - first_step) * steps_left,
                loss=float(np.median(recent[-settings.log_period :])),
                lr=rate,
            )
            log_json_stats(stats)
        clock = now
        run.save_or_stop_after_step(num_steps)
    run.bad_clips.merge(distributed.gather_texts)
    if not run.sums.steps:
        raise UserError(
            f"no step of epoch {run.epoch + 1} could be taken, as clips of "
            f"{run.splits.train_clips.source} cannot be read or losses are not finite, see above"
        )
    _report_epoch(run, rate)


def _report_epoch(run: Training, rate: float) -> None:
    """The epoch in the log, the table and the curves; rate: that of its last step."""
    epoch, max_epoch, sums = run.epoch, run.settings.solver.max_epoch, run.sums
    loss, wait_share = sums.losses / sums.steps, sums.waited / max(sums.seconds, 1e-9)
    stats = train_epoch_stats(
        epoch=epoch,
        max_epoch=max_epoch,
        dt=sums.seconds,
        eta_sec=sums.seconds * (max_epoch - epoch - 1),
        loss=loss,
        lr=rate,
    )
    log_json_stats(stats)
    if wait_share > _LONG_WAIT and sums.seconds > _LONG_EPOCH_SEC:
        logger.info(
            "%.0f %% of the epoch was waiting for clips: more DATA_LOADER.NUM_WORKERS (now %d) "
            "help where cores are free, smaller images or DATA.RESAMPLE fast where not",
            100 * wait_share,
            run.settings.loader.num_workers,
        )
    run.scalars.write("Train/loss", loss, epoch)
    run.scalars.write("Train/lr", rate, epoch)
    run.scalars.write("Train/data_wait_share", wait_share, epoch)
    run.table.put(
        epoch + 1,
        train_loss=loss,
        lr=rate,
        seconds=sums.seconds,
        data_wait_share=wait_share,
        clips_skipped=len(run.bad_clips.reasons),
        nonfinite_steps=run.train_step.skipped,
        loss_phase=run.criterion.phase(),
    )


def _precise_batch_norm(run: Training, batches: ClipLoader, num_steps: int) -> None:
    batches.set_epoch(PRECISE_BN_EPOCH + run.epoch + 1)
    num_batches = min(run.settings.train.precise_bn_batches, num_steps)
    before = {name: buffer.clone() for name, buffer in run.model.named_buffers()}

    def frames() -> Iterator[Tensor]:
        for batch in Progress(num_batches, "precise batch norm", "batch").over(batches):
            is_missing, stop = distributed.gather_numbers([batch is None, run.stop.received]).T
            if stop.any():
                raise _StopAsked
            if not is_missing.any():
                yield batch.frames

    try:
        update_batch_norm(run.model, frames(), num_batches)
    except _StopAsked:  # saved as it was before: a resumed run does all of it again
        for name, buffer in run.model.named_buffers():
            buffer.copy_(before[name])
        run.save_and_stop()


class _StopAsked(Exception):  # noqa: N818 - it is no error
    pass

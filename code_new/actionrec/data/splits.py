"""The clips of a run: its splits, class names and segments, checked before a model is built.

A data set is one line in `actionrec.data.DATASETS`.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actionrec.data import DATASETS
from actionrec.data.annotations import ClipTable, check_disjoint, read_clips
from actionrec.data.class_table import read_class_names
from actionrec.data.decoding import FrameSource, open_source, require_files
from actionrec.data.dev_split import dev_split_path, hold_out
from actionrec.data.workbook import read_class_counts
from actionrec.errors import UserError, first_few
from actionrec.metrics.segments import Segments, segment_classes
from actionrec.types import DataSettings, RunSettings

logger = logging.getLogger(__name__)


def charades_csv(path: Path, data: DataSettings) -> ClipTable:
    """The clips of a Charades-style CSV, one row a frame."""
    return read_clips(path, num_classes=data.num_classes, unlabelled_frames=data.unlabelled_frames)


@dataclass(frozen=True)
class Splits:
    """train is None when neither training nor the definition of head, middle and tail needs it.

    dev: the clips of train.csv that are held out, and no longer in `train`; None: none are.
    """

    train: ClipTable | None
    val: ClipTable
    train_source: FrameSource | None
    val_source: FrameSource
    class_names: tuple[str, ...]
    segments: Segments
    dev: ClipTable | None = None
    dev_source: FrameSource | None = None

    @property
    def train_clips(self) -> ClipTable:
        """The training split of a run that trains."""
        if self.train is None:
            raise ValueError("this run was set up without a training split")
        return self.train

    @property
    def train_pixels(self) -> FrameSource:
        """Where the frames of `train_clips` are."""
        if self.train_source is None:
            raise ValueError("this run was set up without training")
        return self.train_source

    @property
    def validation(self) -> tuple[ClipTable, FrameSource]:
        """What checkpoints are chosen on: the clips held out, else those of val.csv."""
        if self.dev is None or self.dev_source is None:
            return self.val, self.val_source
        return self.dev, self.dev_source


def _read(settings: RunSettings, name: str) -> ClipTable:
    path = settings.data.annotation_dir / name
    logger.info("reading %s", path)  # the real training split takes a while
    table: ClipTable = DATASETS[settings.dataset](path, settings.data)
    return table


def _needs_train(settings: RunSettings) -> bool:
    return settings.train.enable or settings.metrics.segments in ("train", "all")


def _report_counts(train: ClipTable, num_classes: int) -> None:
    empty = np.flatnonzero(train.class_counts(num_classes) == 0)
    if len(empty):
        logger.warning(
            "%d of %d classes have no training clip (counted as 1 by the losses): %s",
            len(empty),
            num_classes,
            first_few(empty.tolist()),
        )


def load_splits(settings: RunSettings) -> Splits:
    """Read and check the annotation of a run. Raises UserError for each kind of mistake in it."""
    data, metrics = settings.data, settings.metrics
    val = _read(settings, "val.csv")
    train = _read(settings, "train.csv") if _needs_train(settings) else None
    names = (
        read_class_names(metrics.class_table, data.num_classes)
        if metrics.class_table
        else tuple(f"class {c}" for c in range(data.num_classes))
    )
    for table in (train, val):
        for note in table.notes if table is not None else ():
            logger.warning("%s", note)
    if train is not None:
        check_disjoint(train, val)
    # Before clips are held out: the same head, middle and tail with a dev split and without.
    segments = _segments(settings, train, val)
    if train is None or not settings.train.enable:
        return Splits(train, val, None, _open(val, data), names, segments)
    train, dev = _hold_out(settings, train)
    _report_counts(train, data.num_classes)
    train_source, val_source = _open(train, data), _open(val, data)
    dev_source = _open(dev, data) if dev is not None else None
    chosen_on = dev_source or val_source
    if train_source.key != chosen_on.key:
        logger.warning(
            "training reads %s and validation %s: set DATA.SOURCE to read both alike",
            train_source.key,
            chosen_on.key,
        )
    return Splits(train, val, train_source, val_source, names, segments, dev, dev_source)


def _hold_out(settings: RunSettings, train: ClipTable) -> tuple[ClipTable, ClipTable | None]:
    """The clips to train on and those of the dev split, if there is one; says which it is."""
    data, batch = settings.data, settings.loader.train_batch
    path, dev, leaves = dev_split_path(data.dev_split, data.annotation_dir), None, ""
    if path is None:
        logger.info(
            "no dev split: best.pyth is chosen on val.csv, which in Animal Kingdom is the test "
            "set; tools/make_split.py makes one"
        )
    else:
        train, dev = hold_out(train, path)
        leaves = f" that {path} leaves for training"
        without = np.count_nonzero(dev.class_counts(data.num_classes) == 0)
        logger.info(
            "validation on %s clips held out of train.csv by %s; best.pyth is chosen on them; "
            "%d of %d classes have none there",
            f"{len(dev):,}",
            path,
            without,
            data.num_classes,
        )
    if len(train) < batch:
        raise UserError(
            f"TRAIN.BATCH_SIZE: {batch} is more than the {len(train)} clips of {train.source}"
            f"{leaves}; lower it"
        )
    return train, dev


def _open(table: ClipTable, data: DataSettings) -> FrameSource:
    """The pixels of a split, after a look at whether all files are there."""
    source = open_source(table, data)
    require_files(table, source, data.max_bad_fraction if data.bad_clips == "skip" else 0.0)
    logger.info("%s: %d clips, %s %s", table.source, len(table), source.key, source.root)
    return source


def _segments(settings: RunSettings, train: ClipTable | None, val: ClipTable) -> Segments:
    metrics, num_classes = settings.metrics, settings.data.num_classes
    table = metrics.count_table if metrics.segments == "workbook" else None
    return segment_classes(
        metrics.segments,
        train_counts=train.class_counts(num_classes) if train is not None else None,
        test_counts=val.class_counts(num_classes),
        table_counts=read_class_counts(table, num_classes) if table else None,
        cuts=metrics.cuts,
    )

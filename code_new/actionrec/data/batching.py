"""From datasets to batches. Frames travel as DATA.RESAMPLE leaves them, uint8 or float32."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from functools import cache
from typing import Any

import cv2
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler, default_collate

from actionrec import launched
from actionrec.data.bad_clips import BadClip, BadClips
from actionrec.data.clip_order import Draws, clip_draws, occurrences
from actionrec.data.dataset import TestDataset, TrainDataset, ValDataset
from actionrec.errors import UserError
from actionrec.stop_signals import heed_parent_alone, interrupts_held
from actionrec.types import Batch, ClipViews, LoaderSettings

Clips = TrainDataset | ValDataset | TestDataset
WORKER_TIMEOUT_SEC = 600  # for one batch, before a worker counts as hung

logger = logging.getLogger(__name__)


class EpochBatches(Sampler[list[tuple[int, int, int]]]):
    """The full batches of one epoch, as lists of TrainDataset's items; the rest is left out.

    draws: the clips of an epoch in order, as many in each. Each of several processes gets its share
    of every batch, and all shares are of one size.
    """

    def __init__(self, draws: Draws, batch: int) -> None:
        self.draws = draws
        self.num_draws = len(draws(0))
        if batch > self.num_draws:
            raise UserError(
                f"TRAIN.BATCH_SIZE {batch} is more than the {self.num_draws} training clips; lower "
                "it"
            )
        if batch % launched.world_size():
            raise UserError(
                f"TRAIN.BATCH_SIZE: {batch} clips, of all processes together, cannot be shared "
                f"equally by {launched.world_size()} of them; choose a multiple"
            )
        self.batch = batch
        self.epoch = 0
        self.start_step = 0

    def set_epoch(self, epoch: int, start_step: int = 0) -> None:
        """Choose the epoch, and how many of its first batches were trained on before."""
        self.epoch = epoch
        self.start_step = start_step

    def __len__(self) -> int:
        return self.num_draws // self.batch - self.start_step

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        clips = self.draws(self.epoch)
        times = occurrences(clips)
        for step in range(self.start_step, self.num_draws // self.batch):
            share = slice(
                step * self.batch + launched.rank(),
                (step + 1) * self.batch,
                launched.world_size(),
            )
            drawn = zip(clips[share].tolist(), times[share].tolist(), strict=True)
            yield [(self.epoch, clip, time) for clip, time in drawn]


class ClipLoader(DataLoader):
    """A DataLoader out of whose workers a UserError comes as it was raised.

    PyTorch would put the worker's traceback into the message. So a worker returns the error instead
    of a sample, and it goes to `bad_clips` here, or is raised where there is none. The batch then
    holds the other clips; where none is left it is None.
    """

    def __init__(
        self,
        dataset: Clips,
        settings: LoaderSettings,
        bad_clips: BadClips | None,
        *,
        may_end_run: bool = True,
        **options: Any,
    ) -> None:
        self.clips, self.bad_clips, self.may_end_run = dataset.table, bad_clips, may_end_run
        num_workers = _num_workers(settings.num_workers)
        super().__init__(
            _ErrorsAsItems(dataset),
            num_workers=num_workers,
            pin_memory=settings.pin_memory,
            persistent_workers=num_workers > 0,
            timeout=WORKER_TIMEOUT_SEC if num_workers else 0,
            worker_init_fn=_settle,
            # Without one of its own, a loader draws from torch's global generator at every pass.
            generator=torch.Generator(),
            **options,
        )

    def set_epoch(self, epoch: int, start_step: int = 0) -> None:
        """Choose what the next pass over a training loader gives: see EpochBatches."""
        if isinstance(self.batch_sampler, EpochBatches):
            self.batch_sampler.set_epoch(epoch, start_step)

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        try:
            with interrupts_held():
                batches = super().__iter__()
            for batch, bad in batches:
                for clip in bad:
                    if self.bad_clips is None:
                        raise clip.error
                    self.bad_clips.add(self.clips, clip, may_end_run=self.may_end_run)
                yield batch
        except RuntimeError as error:
            if not str(error).startswith("DataLoader"):
                raise
            raise UserError(
                f"{self.clips.source}: a process that reads clips died or hung "
                f"({str(error).partition(chr(10))[0]}); out of memory? lower "
                "DATA_LOADER.NUM_WORKERS; with 0 the clip at fault ends the run itself"
            ) from error


def train_loader(
    dataset: TrainDataset, settings: LoaderSettings, bad_clips: BadClips | None = None
) -> ClipLoader:
    """Batches of tensors in the order of `loader.set_epoch(epoch, start_step)`."""
    targets = dataset.table.targets(dataset.settings.num_classes)
    draws = clip_draws(settings.sampler, targets, settings.seed, settings.repeat_threshold)
    order = EpochBatches(draws, settings.train_batch)
    return ClipLoader(dataset, settings, bad_clips, batch_sampler=order, collate_fn=_collate)


def val_loader(
    dataset: ValDataset, settings: LoaderSettings, bad_clips: BadClips | None = None
) -> ClipLoader:
    """Batches of tensors in the order of the annotation, the last one as large as it comes.

    Each of several processes gets every n-th of them, where n are at work.
    """
    # Whole batches are shared out: a score may depend, in its last bit, on the others of its batch.
    clips, size = range(len(dataset)), settings.test_batch
    batches = [clips[start : start + size] for start in range(0, len(clips), size)]
    shares = batches[launched.rank() :: launched.world_size()]
    return ClipLoader(dataset, settings, bad_clips, batch_sampler=shares, collate_fn=_collate)


def test_loader(
    dataset: TestDataset, settings: LoaderSettings, bad_clips: BadClips | None = None
) -> ClipLoader:
    """One ClipViews a clip, in the order of the annotation; cut them with `view_batches`.

    Each of several processes gets every n-th clip, where n are at work.
    Bad clips never end it, however many: hours of scores are not lost.
    """
    # Arrays travel through pipes: a bank may be larger than the shared memory that containers have.
    # One bank a worker is made ahead: those of long clips are large.
    return ClipLoader(
        dataset,
        settings,
        bad_clips,
        may_end_run=False,
        batch_size=None,
        sampler=range(launched.rank(), len(dataset), launched.world_size()),
        collate_fn=_with_bad,
        prefetch_factor=1 if settings.num_workers else None,
    )


test_loader.__test__ = False  # type: ignore[attr-defined]  # pytest would take it for a test


def view_batches(
    clip: ClipViews, batch: int, device: torch.device | str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Move the bank of a clip to `device` once and cut its views there, at most `batch` at a time.

    Yields frames (B, T, crop, crop, 3) of the bank's type on `device`, and the numbers of the views
    (B,) int64 on the CPU, rising from 0.
    """
    bank = torch.as_tensor(clip.bank).to(device)
    rows = torch.as_tensor(clip.view_frames, device=device)
    num_crops, px = len(clip.crop_offsets), clip.crop_px
    for numbers in torch.arange(len(rows) * num_crops).split(batch):
        frames = bank.new_empty((len(numbers), rows.shape[1], px, px, 3))
        for view, number in zip(frames, numbers.tolist(), strict=True):
            top, left = clip.crop_offsets[number % num_crops].tolist()
            window = bank[:, top : top + px, left : left + px]
            torch.index_select(window, 0, rows[number // num_crops], out=view)
        yield frames, numbers


class _ErrorsAsItems(Dataset):
    def __init__(self, dataset: Clips) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: Any) -> Any:
        try:
            return self.dataset[index]
        except UserError as error:
            return BadClip(index[1] if isinstance(index, tuple) else index, error)


def _collate(samples: list[Batch | BadClip]) -> tuple[Batch | None, list[BadClip]]:
    good = [sample for sample in samples if not isinstance(sample, BadClip)]
    bad = [sample for sample in samples if isinstance(sample, BadClip)]
    return default_collate(good) if good else None, bad


def _with_bad(item: ClipViews | BadClip) -> tuple[ClipViews | None, list[BadClip]]:
    return (None, [item]) if isinstance(item, BadClip) else (item, [])


@cache  # so that it is said once, not for each loader
def _num_workers(wanted: int) -> int:
    """`wanted`, but no more than the cores that this process may use: torch warns of that."""
    num_cores = launched.num_cores()
    if wanted > num_cores:
        logger.info("DATA_LOADER.NUM_WORKERS: %d, lowered to the %d cores here", wanted, num_cores)
    return min(wanted, num_cores)


def _settle(worker: int) -> None:
    """Workers share the cores: threads in each would only wait for one another.

    They share memory as well. Collecting garbage writes into every object that it looks at, which
    would give each worker 40 MB of its own.
    """
    heed_parent_alone()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    gc.freeze()

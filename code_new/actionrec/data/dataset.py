"""One clip in, one sample out: which frames, decoded, cut. No state, no randomness of its own."""

from __future__ import annotations

import numpy as np
from torch.utils.data import Dataset

from actionrec.data.clip_table import ClipTable
from actionrec.data.decoding import FrameSource
from actionrec.data.sampling import centre_frames, test_frames, train_frames
from actionrec.data.views import centre_view, crop_offsets, scale_short_side, train_view
from actionrec.randomness import sample_rng
from actionrec.types import Batch, ClipViews, DataSettings


class TrainDataset(Dataset):
    """Random views. Item (epoch, clip) is the same whenever and wherever it is read.

    A Batch without its first axis: frames (T, crop, crop, 3) uint8; targets (C,) float32, all
    labels from the first to the last sampled frame, those between included; the clip's number.
    """

    def __init__(
        self, table: ClipTable, source: FrameSource, settings: DataSettings, seed: int
    ) -> None:
        self.table = table
        self.source = source
        self.settings = settings
        self.seed = seed

    def __len__(self) -> int:
        return len(self.table.ids)

    def __getitem__(self, index: tuple[int, int]) -> Batch:
        epoch, clip = index
        rng = sample_rng(self.seed, epoch, clip)
        wanted = train_frames(
            int(self.table.num_frames[clip]),
            self.settings.num_frames,
            self.settings.sampling_rate,
            rng,
        )
        frames = train_view(self.source.read(clip, wanted), self.settings, rng)
        labels = self.table.labels(clip, int(wanted[0]), int(wanted[-1]))
        return Batch(frames, _multi_hot(labels, self.settings.num_classes), clip)


class ValDataset(Dataset):
    """The centre view of each clip, with the labels of the whole clip, in TrainDataset's shapes.

    SlowFast validates on random crops; here every epoch sees the same pixels: the shorter side
    becomes the smallest of the training range, and the crop is the middle one of training size.
    """

    def __init__(self, table: ClipTable, source: FrameSource, settings: DataSettings) -> None:
        self.table = table
        self.source = source
        self.settings = settings

    def __len__(self) -> int:
        return len(self.table.ids)

    def __getitem__(self, clip: int) -> Batch:
        settings = self.settings
        wanted = centre_frames(
            int(self.table.num_frames[clip]), settings.num_frames, settings.sampling_rate
        )
        frames = scale_short_side(self.source.read(clip, wanted), settings.train_jitter_px[0])
        targets = _multi_hot(self.table.labels(clip), settings.num_classes)
        return Batch(centre_view(frames, settings.train_crop_px), targets, clip)


class TestDataset(Dataset):
    """All views of each clip. A frame that several views share is decoded and kept once."""

    __test__ = False  # pytest would take the name for a test

    def __init__(self, table: ClipTable, source: FrameSource, settings: DataSettings) -> None:
        self.table = table
        self.source = source
        self.settings = settings

    def __len__(self) -> int:
        return len(self.table.ids)

    def __getitem__(self, clip: int) -> ClipViews:
        settings = self.settings
        wanted = np.stack([self._view(clip, view) for view in range(settings.num_views)])
        distinct, rows = np.unique(wanted, return_inverse=True)
        crop_px = settings.test_crop_px
        bank = self.source.read(
            clip, distinct, each=lambda frame: scale_short_side(frame[None], crop_px)[0]
        )
        offsets = crop_offsets(bank.shape[1], bank.shape[2], crop_px, settings.num_crops)
        return ClipViews(bank, rows.reshape(wanted.shape), offsets, crop_px, clip)

    def _view(self, clip: int, view: int) -> np.ndarray:
        settings = self.settings
        return test_frames(
            int(self.table.num_frames[clip]),
            settings.num_frames,
            settings.sampling_rate,
            view,
            settings.num_views,
        )


def _multi_hot(labels: np.ndarray, num_classes: int) -> np.ndarray:
    targets = np.zeros(num_classes, np.float32)
    targets[labels] = 1.0
    return targets

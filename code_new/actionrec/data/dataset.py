"""One clip in, one sample out: which frames, decoded, cut. No state, no randomness of its own."""

from __future__ import annotations

import numpy as np
from torch.utils.data import Dataset

from actionrec.data.clip_table import ClipTable
from actionrec.data.decoding import FrameSource
from actionrec.data.sampling import frame_sampler
from actionrec.data.views import (
    Cutter,
    Window,
    centre_window,
    crop_offsets,
    train_window,
    whole_window,
)
from actionrec.randomness import sample_rng
from actionrec.types import Batch, ClipViews, DataSettings


class TrainDataset(Dataset):
    """Random views. Item (epoch, clip, occurrence) is the same whenever and wherever it is read.

    occurrence: how often the clip was drawn before in the epoch; (epoch, clip) is its first.

    A Batch without its first axis: frames (T, crop, crop, 3), uint8 or float32 as DATA.RESAMPLE
    says; targets (C,) float32, all labels from the first to the last sampled frame, those between
    included; the clip's number. The draws do not depend on DATA.RESAMPLE.
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

    def __getitem__(self, index: tuple[int, ...]) -> Batch:
        epoch, clip, *occurrence = index
        rng = sample_rng(self.seed, epoch, clip, *occurrence)
        settings = self.settings
        wanted = frame_sampler(settings).random(int(self.table.num_frames[clip]), rng)
        # Each frame is cut as soon as it is decoded: whole frames of a clip are never in memory.
        cut = Cutter(lambda h, w: train_window(h, w, settings, rng), settings.resample)
        frames = self.source.read(clip, wanted, each=cut)
        labels = self.table.labels(clip, int(wanted[0]), int(wanted[-1]))
        return Batch(frames, _multi_hot(labels, settings.num_classes), clip)


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
        short_px, crop_px = settings.train_jitter_px[0], settings.train_crop_px
        wanted = frame_sampler(settings).spread(int(self.table.num_frames[clip]), 0, num_views=1)
        cut = Cutter(lambda h, w: centre_window(h, w, short_px, crop_px), settings.resample)
        frames = self.source.read(clip, wanted, each=cut)
        return Batch(frames, _multi_hot(self.table.labels(clip), settings.num_classes), clip)


class TestDataset(Dataset):
    """All views of each clip. A frame that several views share is decoded and kept once.

    The bank holds no frame that no view shows: at most num_views x num_frames, scaled, and only
    their centre where that is the one crop.
    """

    __test__ = False  # pytest would take the name for a test

    def __init__(self, table: ClipTable, source: FrameSource, settings: DataSettings) -> None:
        self.table = table
        self.source = source
        self.settings = settings

    def __len__(self) -> int:
        return len(self.table.ids)

    def __getitem__(self, clip: int) -> ClipViews:
        settings = self.settings
        num_views, crop_px = settings.num_views, settings.test_crop_px
        sampler, num_clip_frames = frame_sampler(settings), int(self.table.num_frames[clip])
        wanted = np.stack([sampler.spread(num_clip_frames, v, num_views) for v in range(num_views)])
        distinct, rows = np.unique(wanted, return_inverse=True)
        bank = self.source.read(clip, distinct, each=Cutter(self._shown, settings.resample))
        offsets = crop_offsets(bank.shape[1], bank.shape[2], crop_px, settings.num_crops)
        return ClipViews(bank, rows.reshape(wanted.shape), offsets, crop_px, clip)

    def _shown(self, height: int, width: int) -> Window:
        """What the crops cover: two or more reach both ends of the frame."""
        crop_px = self.settings.test_crop_px
        if self.settings.num_crops == 1:
            return centre_window(height, width, crop_px, crop_px)
        return whole_window(height, width, crop_px)


def _multi_hot(labels: np.ndarray, num_classes: int) -> np.ndarray:
    targets = np.zeros(num_classes, np.float32)
    targets[labels] = 1.0
    return targets

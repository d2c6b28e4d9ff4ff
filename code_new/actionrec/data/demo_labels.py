"""What the sample data shows: its classes, its clips, and which labels each clip carries.

A clip has one movement, one coat or a plain one, and perhaps a place and a flash: 2.2 labels on
average, as in Animal Kingdom. The numbers of clips are fixed, so every seed has the same long tail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

CUTS = (20, 6)  # training clips: METRICS.SEGMENT_CUTS of the demo


class DemoClass(NamedTuple):
    """Classes of one group exclude each other. num_train, num_test: clips that show the class."""

    name: str
    category: str
    group: str
    num_train: int
    num_test: int


CLASSES = (  # the position is the label; alphabetical, as in Animal Kingdom
    DemoClass("Approaching", "Movement", "movement", 6, 2),
    DemoClass("At Night", "Place", "night", 5, 2),
    DemoClass("Blue Coat", "Appearance", "coat", 5, 2),
    DemoClass("Flashing", "Communication", "flash", 12, 5),
    DemoClass("In Water", "Place", "water", 14, 5),
    DemoClass("Jumping", "Movement", "movement", 12, 5),
    DemoClass("Red Coat", "Appearance", "coat", 34, 13),
    DemoClass("Rolling", "Movement", "movement", 5, 2),
    DemoClass("Standing", "Movement", "movement", 24, 9),
    DemoClass("Striped Coat", "Appearance", "coat", 14, 5),
    DemoClass("Walking Left", "Movement", "movement", 13, 5),
    DemoClass("Walking Right", "Movement", "movement", 12, 5),
)
NUM_CLIPS = {"train": 72, "test": 28}
FRAMES_RANGE = (52, 64)  # frames of a clip, both ends included


@dataclass(frozen=True)
class DemoClip:
    """One clip to be drawn. number is unique over both splits; labels are positions in CLASSES."""

    clip_id: str
    number: int
    split: str  # train | test
    labels: tuple[int, ...]
    num_frames: int

    def shows(self, name: str) -> bool:
        """Whether the class of this name is among the labels."""
        return any(CLASSES[label].name == name for label in self.labels)


def plan_clips(seed: int) -> list[DemoClip]:
    """The clips of both splits, the training ones first. The same seed gives the same plan."""
    clips: list[DemoClip] = []
    for split, num_clips in NUM_CLIPS.items():
        rng = np.random.default_rng([seed, len(clips)])
        lengths = rng.integers(*FRAMES_RANGE, size=num_clips, endpoint=True)
        for labels, length in zip(_draw_labels(split, num_clips, rng), lengths, strict=True):
            number = len(clips)
            clips.append(DemoClip(_clip_id(number), number, split, labels, int(length)))
    return clips


def count_clips(clips: Sequence[DemoClip]) -> list[int]:
    """How many of the training clips show each class."""
    train = [clip for clip in clips if clip.split == "train"]
    return [sum(label in clip.labels for clip in train) for label in range(len(CLASSES))]


def _draw_labels(split: str, num_clips: int, rng: np.random.Generator) -> list[tuple[int, ...]]:
    """Deal the classes of each group over the clips, in a random order, without a class twice."""
    labels: list[list[int]] = [[] for _ in range(num_clips)]
    for group in sorted({c.group for c in CLASSES}):
        order = iter(rng.permutation(num_clips))
        for label, shown in enumerate(CLASSES):
            if shown.group == group:
                for _ in range(shown.num_train if split == "train" else shown.num_test):
                    labels[next(order)].append(label)
    return [tuple(sorted(of_clip)) for of_clip in labels]


def _clip_id(number: int) -> str:
    """Eight capital letters, as Animal Kingdom names its clips: DEMOAAAA, DEMOAAAB, ..."""
    letters = ""
    for _ in range(4):
        number, digit = divmod(number, 26)
        letters = chr(ord("A") + digit) + letters
    return "DEMO" + letters

"""Choose the clips of train.csv that are held out, write dev.txt, and say how good the split is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actionrec.data.annotations import read_clips
from actionrec.data.clip_groups import origins, read_groups
from actionrec.data.dev_split import write_dev_split
from actionrec.data.input_checks import AnnotationError
from actionrec.data.stratification import share_error, stratify
from actionrec.errors import first_few

# A class with fewer than three clips gives none, and none loses all but one.
KEPT_IN_TRAINING = 2
_MAX_CLASSES = 1000  # more than any data set here; a label beyond it is a slip


@dataclass(frozen=True, eq=False)
class MadeSplit:
    """targets (K, C) bool of all clips of train.csv; held_out and at_random (K,) bool."""

    path: Path
    targets: np.ndarray
    held_out: np.ndarray
    at_random: np.ndarray
    fraction: float
    num_groups: int

    def lines(self) -> list[str]:
        """A summary to print."""
        num_dev, num_clips = np.count_nonzero(self.held_out), len(self.held_out)
        grouped = f", in {self.num_groups} groups" if self.num_groups < num_clips else ""
        return [
            f"{self.path}: {num_dev} of {num_clips} clips held out, {num_clips - num_dev} left to "
            f"train on{grouped}",
            f"of each class {100 * self.fraction:g} % is wanted; this split misses it by",
            f"  {self._missed(self.held_out)}",
            "and one drawn at random by",
            f"  {self._missed(self.at_random)}",
            *self._without(),
        ]

    def _missed(self, held_out: np.ndarray) -> str:
        counts = self.targets.sum(axis=0)
        clips = np.abs(share_error(self.targets, held_out, self.fraction))[counts > 0]
        points = 100 * clips / counts[counts > 0]
        return (
            f"{clips.mean():.2f} clips a class on average and {clips.max():.1f} at most; in "
            f"percentage points {points.mean():.1f} and {points.max():.1f}"
        )

    def _without(self) -> list[str]:
        counts, dev = self.targets.sum(axis=0), self.targets[self.held_out].sum(axis=0)
        trained = np.count_nonzero(counts)
        empty = np.flatnonzero((counts > 0) & (dev == 0)).tolist()
        if not empty:
            return []
        return [
            f"{len(empty)} of {trained} classes have no clip held out, so no validation measures "
            f"them: {first_few(empty)}"
        ]


def make_split(
    annotation_dir: Path,
    out: Path,
    *,
    fraction: float,
    seed: int = 0,
    groups: Path | None = None,
    by_origin: bool = False,
    overwrite: bool = False,
) -> MadeSplit:
    """Hold out `fraction` of the clips of train.csv and write their ids to `out`.

    groups: a CSV clip_id,group of clips that stay together; by_origin: those whose Animal Kingdom
    ids end alike do. Raises AnnotationError; then no file is changed.
    """
    if out.exists() and not overwrite:
        raise AnnotationError(f"{out}: is there already; replace it with --overwrite")
    train = read_clips(
        annotation_dir / "train.csv", num_classes=_MAX_CLASSES, unlabelled_frames=True
    )
    targets, ids = train.targets(_MAX_CLASSES) > 0, list(train.ids)
    targets = targets[:, : np.flatnonzero(targets.any(axis=0)).max(initial=0) + 1]
    names, how = None, "clip by clip"
    if groups is not None:
        names, how = read_groups(groups, ids), f"by the groups of {groups.name}"
    elif by_origin:
        names, how = origins(ids), "by origin"
    shares = (1 - fraction, fraction)
    part = stratify(targets, names, shares, seed, kept_in_first=KEPT_IN_TRAINING)
    held_out = part == 1
    if not held_out.any():
        raise AnnotationError(
            f"{train.source}: no clip could be held out: --fraction {fraction:g} of {len(ids)} "
            f"clips, and {KEPT_IN_TRAINING} of each class stay in training; ask for more"
        )
    chosen = [ids[clip] for clip in np.flatnonzero(held_out).tolist()]
    how = f"made by tools/make_split.py, {how}: fraction {fraction:g}, seed {seed}"
    try:
        write_dev_split(out, chosen, ids, how)
    except OSError as error:
        raise AnnotationError(
            f"{out}: cannot be written ({error.strerror}); name another file with --out, and in "
            "DATA.DEV_SPLIT"
        ) from None
    group_of = np.unique(ids if names is None else names, return_inverse=True)[1]
    at_random = _at_random(group_of, fraction, seed)
    return MadeSplit(out, targets, held_out, at_random, fraction, int(group_of.max()) + 1)


def _at_random(group_of: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """(K,) bool: groups drawn as they come, as long as they fit."""
    sizes = np.bincount(group_of)
    drawn, room = np.zeros(len(sizes), dtype=bool), fraction * len(group_of)
    for group in np.random.default_rng(seed).permutation(len(sizes)).tolist():
        if sizes[group] <= room:
            drawn[group] = True
            room -= sizes[group]
    return drawn[group_of]

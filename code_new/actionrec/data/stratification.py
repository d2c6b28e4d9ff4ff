"""Divide clips with several labels each so that every part gets its share of every class.

Iterative stratification: Sechidis, Tsoumakas and Vlahavas 2011, "On the Stratification of
Multi-Label Data", algorithm 1. The rarest class is dealt out first, while there is a choice, and
each clip goes to the part that lacks this class most. Added here: clips may be tied together in
groups, which move whole, and the first part can be promised some clips of every class.

Shapes: K clips, G groups, C classes, J parts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike


def stratify(
    targets: ArrayLike,
    groups: ArrayLike | None,
    fractions: Sequence[float],
    seed: int,
    *,
    kept_in_first: int = 0,
) -> np.ndarray:
    """The part of each clip, (K,) int64 in 0..J-1; the same for the same arguments.

    targets (K, C), not 0 where a clip has a class; groups (K,), equal for clips that stay together,
    or None; fractions (J,) of the clips, of sum 1. Part 0 gets at least `kept_in_first` clips of
    each class, or all where there are fewer. Raises ValueError.
    """
    has, share = np.asarray(targets) != 0, np.asarray(fractions, dtype=np.float64)
    names = np.arange(len(has)) if groups is None else np.asarray(groups)
    if has.ndim != 2 or names.shape != (len(has),):
        raise ValueError(f"targets {has.shape} and groups {names.shape} are not (K, C) and (K,)")
    if share.ndim != 1 or not (share > 0).all() or not np.isclose(share.sum(), 1):
        raise ValueError(f"fractions {list(fractions)} are not positive numbers of sum 1")
    if not len(has):
        return np.zeros(0, dtype=np.int64)
    _, group_of = np.unique(names, return_inverse=True)
    counts = np.zeros((group_of.max() + 1, has.shape[1]), dtype=np.int64)
    np.add.at(counts, group_of, has)
    return _Dealer(counts, np.bincount(group_of), share, seed, kept_in_first).deal()[group_of]


class _Dealer:
    """What the parts still lack: `lacks` (J, C) clips of each class, `room` (J,) clips."""

    def __init__(
        self, counts: np.ndarray, sizes: np.ndarray, share: np.ndarray, seed: int, kept: int
    ) -> None:
        self.counts, self.sizes = counts, sizes  # (G, C) and (G,), in clips
        self.rng = np.random.default_rng(seed)
        self.lacks = np.outer(share, counts.sum(axis=0))
        self.room = share * sizes.sum()
        self.spare = np.maximum(counts.sum(axis=0) - kept, 0)  # may still leave the first part
        self.part = np.full(len(counts), -1, dtype=np.int64)

    def deal(self) -> np.ndarray:
        """The part of each group, (G,) int64."""
        while (left := self.part < 0).any():
            remaining = self.counts[left].sum(axis=0)
            if remaining.any():
                fewest = remaining[remaining > 0].min()
                rarest = self._any_of(np.flatnonzero(remaining == fewest))
                self._deal_class(np.flatnonzero(left & (self.counts[:, rarest] > 0)), rarest)
            else:
                self._deal_class(np.flatnonzero(left), None)
        return self.part

    def _deal_class(self, groups: np.ndarray, label: int | None) -> None:
        """Give out the groups that have a class; None: those that have none at all."""
        groups = self.rng.permutation(groups)
        # The largest first: later there is no room for it.
        for group in groups[np.argsort(-self.sizes[groups], kind="stable")].tolist():
            part = self._choose(group, label)
            self.part[group] = part
            self.lacks[part] -= self.counts[group]
            self.room[part] -= self.sizes[group]
            if part:
                self.spare -= self.counts[group]

    def _choose(self, group: int, label: int | None) -> int:
        """The part that lacks the class most; of several the one with most room, then any."""
        if (self.counts[group] > self.spare).any():
            return 0
        parts = np.arange(len(self.room))
        if self.sizes[group] > 1:  # a single clip may overdraw, as in the paper, a large group not
            fits = self.room >= self.sizes[group]
            parts = parts[fits] if fits.any() else parts
        if label is not None:
            parts = _largest(parts, self.lacks[:, label])
        return self._any_of(_largest(parts, self.room))

    def _any_of(self, values: np.ndarray) -> int:
        return int(values[self.rng.integers(len(values))] if len(values) > 1 else values[0])


def _largest(parts: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Those of `parts` with the largest of `values` (J,), but for rounding."""
    of_parts = values[parts]
    return parts[of_parts >= of_parts.max() - 1e-9]


def share_error(targets: ArrayLike, held_out: ArrayLike, fraction: float) -> np.ndarray:
    """(C,) float64: clips held out of each class, less `fraction` of its clips; 0 is the aim.

    targets (K, C), held_out (K,) bool.
    """
    has = np.asarray(targets) != 0
    return has[np.asarray(held_out)].sum(axis=0) - fraction * has.sum(axis=0)

"""Losses compared over seeds: their mAP, its spread, and what can be said of the difference.

The paired bootstrap of one difference: in each draw the test clips are drawn once for both losses,
and of each loss its seeds, with replacement. So an interval holds the chance in the test clips and
that in the training runs; what is chance in both at once it counts twice (Owen 2007, "The
pigeonhole bootstrap"), so it is rather too wide where seeds alone differ little.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from actionrec.engine.scores_file import Scores
from actionrec.errors import UserError
from actionrec.metrics.average_precision import average_precision
from actionrec.metrics.bootstrap import (
    NUM_DRAWS,
    SEGMENTS,
    Interval,
    draw_clips,
    drawn_ap,
    limits,
    segment_means,
    verdict,
)
from actionrec.metrics.floors import prior_floor, random_floor
from actionrec.metrics.protocols import MapSummary
from actionrec.metrics.segments import Segments
from actionrec.progress import Progress


@dataclass(frozen=True, eq=False)
class Row:
    """One loss. maps (S, 4): of each seed, overall, head, middle, tail, from 0 to 1.

    differences: of the means to the baseline, by segment with its interval, and verdicts with
    them; both empty for the baseline.
    """

    loss: str
    maps: np.ndarray
    differences: dict[str, Interval]
    verdicts: dict[str, str]

    @property
    def mean(self) -> np.ndarray:
        return self.maps.mean(axis=0)

    @property
    def spread(self) -> np.ndarray:
        """The standard deviation over the seeds (n - 1); NaN of a single one."""
        if len(self.maps) < 2:
            return np.full(self.maps.shape[1], np.nan)
        return self.maps.std(axis=0, ddof=1)


@dataclass(frozen=True, eq=False)
class Comparison:
    """One model's losses, the baseline first, and over what they were measured."""

    model: str
    rows: list[Row]
    floors: dict[str, MapSummary]
    num_clips: int
    num_unread: int  # test clips that some run could not read, left out for all
    num_draws: int


def compare(
    model: str,
    scores: Mapping[str, Sequence[Scores]],
    baseline: str,
    segments: Segments,
    num_draws: int = NUM_DRAWS,
) -> Comparison:
    """scores: of each loss, one a seed. Raises UserError where they are of different test clips."""
    first = scores[baseline][0]
    read = np.ones(len(first.ids), dtype=bool)
    for label, of_seeds in scores.items():
        for one in of_seeds:
            if one.ids != first.ids or not np.array_equal(one.targets, first.targets):
                raise UserError(
                    f"{model}/{label}: was tested on other clips or labels than {baseline}; a "
                    "sweep has one test annotation"
                )
            read &= ~np.isnan(one.scores).any(axis=1)
    if not read.any():
        raise UserError(f"{model}: no test clip could be read by every run; mend the clips")
    targets, clips = first.targets[read], draw_clips(int(read.sum()), num_draws)
    total = sum(map(len, scores.values()))
    maps, drawn = {}, {}
    with Progress(total, f"bootstrap of {model}", "run") as progress:
        for number, (label, of_seeds) in enumerate(scores.items()):
            each = []
            for one in of_seeds:
                each.append(segment_means(drawn_ap(one.scores[read], targets, clips), segments))
                progress.update()
            drawn[label] = _of_drawn_seeds(np.stack(each), number)
            ap = [average_precision(one.scores[read], targets) for one in of_seeds]
            maps[label] = segment_means(np.stack(ap), segments)
    order = [baseline, *(label for label in scores if label != baseline)]
    rows = [_row(label, maps, drawn, baseline) for label in order]
    floors = {"random": random_floor(targets, segments)}
    if first.train_counts is not None:
        floors["class prior"] = prior_floor(first.train_counts, targets, segments)
    return Comparison(model, rows, floors, int(read.sum()), int((~read).sum()), num_draws)


def _of_drawn_seeds(drawn: np.ndarray, number: int) -> np.ndarray:
    """(S, D, 4) -> (D, 4): in each draw the mean over S - 1 of the S seeds, with replacement.

    One less than there are, as S of S would make the spread of the mean too small, by 1 / S: few
    seeds would find differences where there are none. McCarthy and Snowden 1985, "The bootstrap and
    finite population sampling". number: of the loss, whose seeds are drawn independently.
    """
    num_seeds, num_draws, _ = drawn.shape
    rng = np.random.default_rng([number, num_seeds])
    chosen = rng.integers(num_seeds, size=(max(num_seeds - 1, 1), num_draws))
    return drawn[chosen, np.arange(num_draws)].mean(axis=0)


def _row(
    label: str, maps: Mapping[str, np.ndarray], drawn: Mapping[str, np.ndarray], baseline: str
) -> Row:
    if label == baseline:
        return Row(label, maps[label], {}, {})
    differences = (drawn[label] - drawn[baseline]).T
    values = maps[label].mean(axis=0) - maps[baseline].mean(axis=0)
    return Row(
        label,
        maps[label],
        {
            name: Interval(float(value), *limits(of_segment))
            for name, value, of_segment in zip(SEGMENTS, values, differences, strict=True)
        },
        dict(zip(SEGMENTS, map(verdict, differences), strict=True)),
    )

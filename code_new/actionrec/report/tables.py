"""Plain-text tables for a terminal, narrower than 80 columns."""

from __future__ import annotations

import math
import textwrap

from actionrec.errors import first_few
from actionrec.metrics.protocols import MapSummary
from actionrec.metrics.segments import DEFINITIONS

COLUMNS = ("overall", "head", "middle", "tail")
WIDTH = 79
MAX_CLASSES = 20  # Animal Kingdom has 13 without a test clip


def map_table(summary: MapSummary, floors: dict[str, MapSummary]) -> str:
    """The macro mAP of the model beside its floors, in %, and what the figures were taken over.

    floors: a row each, by name. A dash stands where no class is measurable. No newline at the end.
    """
    rows = {"model": summary, **floors}
    width = max(len(name) for name in ("mAP %", *rows))
    lines = [f"{'mAP %':<{width}}" + "".join(f"{name:>9}" for name in COLUMNS)]
    for name, row in rows.items():
        lines.append(f"{name:<{width}}" + "".join(_percent(getattr(row, c)) for c in COLUMNS))
    return "\n".join([*lines, *_wrapped(_segments(summary)), *_wrapped(_measured(summary))])


def _percent(fraction: float) -> str:
    return f"{'-' if math.isnan(fraction) else f'{100 * fraction:.2f}':>9}"


def _segments(summary: MapSummary) -> str:
    high, low = summary.cuts
    counted = DEFINITIONS[summary.definition].counted
    return (
        f"segments '{summary.definition}' ({counted}: head > {high}, tail <= {low}): "
        f"{summary.num_head}/{summary.num_middle}/{summary.num_tail} classes"
    )


def _measured(summary: MapSummary) -> str:
    over = f"over {summary.num_measurable} of {summary.num_classes} classes"
    if not len(summary.unmeasurable):
        return over
    without = first_few(summary.unmeasurable.tolist(), shown=MAX_CLASSES)
    return f"{over}; without a test clip: {without}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ")

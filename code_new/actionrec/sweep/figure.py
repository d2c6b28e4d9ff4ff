"""The differences to the baseline with their intervals, a row of four panels a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from actionrec.atomic_file import atomic_file
from actionrec.metrics.bootstrap import SEGMENTS
from actionrec.sweep.comparison import Comparison

# Okabe and Ito's colours, and a shape each: readable without colours too.
STYLES = {"better": ("#0072B2", "^"), "worse": ("#D55E00", "v"), "no evidence": ("#777777", "o")}


def draw(path: Path, comparisons: Sequence[Comparison]) -> None:
    """Write the figure as a PNG. Raises ModuleNotFoundError without matplotlib, and OSError."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    most = max(len(comparison.rows) for comparison in comparisons)
    height = len(comparisons) * (0.9 + 0.28 * most) + 0.5
    figure = Figure(figsize=(10, height), layout="constrained")
    panels = figure.subplots(len(comparisons), len(SEGMENTS), squeeze=False, sharey="row")
    for comparison, row in zip(comparisons, panels, strict=True):
        for segment, panel in zip(SEGMENTS, row, strict=True):
            _draw_panel(panel, comparison, segment)
        row[0].set_ylabel(comparison.model)
    marks = [
        Line2D([], [], color=colour, marker=marker, label=told)
        for told, (colour, marker) in STYLES.items()
    ]
    figure.legend(handles=marks, loc="outside lower center", ncols=len(marks), frameon=False)
    figure.suptitle(
        f"mAP, difference to {comparisons[0].rows[0].loss} in points, 95 % intervals", fontsize=11
    )
    with atomic_file(path) as file:
        figure.savefig(file, format="png", dpi=150)


def _draw_panel(panel: Any, comparison: Comparison, segment: str) -> None:
    rows = comparison.rows[1:]
    for place, row in enumerate(rows):
        interval = row.differences[segment]
        colour, marker = STYLES[row.verdicts[segment]]
        panel.plot([100 * interval.low, 100 * interval.high], [place, place], color=colour)
        panel.plot([100 * interval.value], [place], color=colour, marker=marker)
    panel.axvline(0, color="black", linewidth=0.8)
    panel.set_title(segment, fontsize=10)
    panel.set_yticks(range(len(rows)), [row.loss for row in rows])
    panel.set_ylim(len(rows) - 0.5, -0.5)  # the first on top, as in the table
    panel.grid(axis="x", alpha=0.3)

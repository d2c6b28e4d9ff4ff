"""The result of a sweep, in %: `results.md` for people, `results.csv` for programs, a figure."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from actionrec.atomic_file import atomic_file
from actionrec.errors import UserError
from actionrec.metrics.bootstrap import SEGMENTS
from actionrec.metrics.protocols import MapSummary
from actionrec.metrics.segments import DEFINITIONS
from actionrec.sweep import figure
from actionrec.sweep.comparison import Comparison, Row

CSV_COLUMNS = "model loss seeds segment mean sd difference low high verdict".split()


def markdown(comparisons: Sequence[Comparison], what: str) -> str:
    """A table a model under what it says. what: was trained, for the title."""
    num_comparisons = sum(len(SEGMENTS) * (len(c.rows) - 1) for c in comparisons)
    draws = comparisons[0].num_draws
    lines = [
        f"# {what}",
        "",
        "mAP in %: mean ± standard deviation over the seeds. A verdict is on the difference to the "
        f"baseline: better or worse where 0 is outside of its 95 % interval over {draws:,} draws "
        "(test clips drawn for both alike, seeds for each); no evidence: such a difference comes "
        f"by chance too, which does not make the two equal. These are {num_comparisons} "
        "comparisons, not corrected for their number: where two losses do not differ, up to one "
        "in ten still says that they do, with two seeds one in five.",
    ]
    for comparison in comparisons:
        lines += ["", f"## {comparison.model}", "", *_table(comparison), "", _over(comparison)]
    return "\n".join(lines) + "\n"


def csv_text(comparisons: Sequence[Comparison]) -> str:
    """A line for each model, loss and segment; low and high: of the difference.

    A cell is empty where there is no figure: no class is measurable, or one seed has no spread.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for comparison in comparisons:
        for row in comparison.rows:
            for number, segment in enumerate(SEGMENTS):
                figures = [row.mean[number], row.spread[number]]
                if interval := row.differences.get(segment):
                    figures += [interval.value, interval.low, interval.high]
                shown = [_number(figure, 4, "") for figure in figures] + [""] * (5 - len(figures))
                told = "" if math.isnan(row.mean[number]) else row.verdicts.get(segment, "baseline")
                key = [comparison.model, row.loss, str(len(row.maps)), segment]
                writer.writerow([*key, *shown, told])
        for name, floor in comparison.floors.items():
            for segment, value in zip(SEGMENTS, _of_floor(floor), strict=True):
                shown = [_number(value, 4, ""), "", "", "", "", "floor"]
                writer.writerow([comparison.model, name, "", segment, *shown])
    return text.getvalue()


def write_results(folder: Path, comparisons: Sequence[Comparison], what: str) -> list[Path]:
    """Write both files and the figure; returns their paths. Raises UserError."""
    contents = {"results.md": markdown(comparisons, what), "results.csv": csv_text(comparisons)}
    paths = [folder / name for name in contents]
    try:
        for path, content in zip(paths, contents.values(), strict=True):
            with atomic_file(path) as file:
                file.write(content.encode())
        if any(len(comparison.rows) > 1 for comparison in comparisons):
            figure.draw(folder / "differences.png", comparisons)
            paths.append(folder / "differences.png")
    except OSError as error:
        raise UserError(f"{folder}: the results cannot be written: {error.strerror}") from None
    except ModuleNotFoundError as missing:
        print(f"no figure: this Python has no {missing.name}")
    return paths


def _table(comparison: Comparison) -> list[str]:
    cells = [["loss", "seeds", *SEGMENTS]]
    for row in comparison.rows:
        cells.append([_name(row), str(len(row.maps)), *_cells(row)])
    for name, floor in comparison.floors.items():
        title = "a random scorer (expected)" if name == "random" else f"the {name}"
        cells.append([title, "", *(_number(value) for value in _of_floor(floor))])
    # Of equal width, so that it reads as well where nothing renders it.
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    lines = [
        "| " + " | ".join(f"{cell:<{w}}" for cell, w in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]


def _name(row: Row) -> str:
    return row.loss if row.verdicts else f"{row.loss} (baseline)"


def _cells(row: Row) -> list[str]:
    cells = []
    for segment, mean, spread in zip(SEGMENTS, row.mean, row.spread, strict=True):
        cell = _number(mean) if math.isnan(spread) else f"{_number(mean)} ± {_number(spread)}"
        told = row.verdicts.get(segment)
        cells.append(f"{cell}, {told}" if told and not math.isnan(mean) else cell)
    return cells


def _over(comparison: Comparison) -> str:
    any_floor = comparison.floors["random"]
    high, low = any_floor.cuts
    unread = f" ({comparison.num_unread} could not be read)" if comparison.num_unread else ""
    one = min(len(row.maps) for row in comparison.rows) == 1
    return (
        f"{comparison.num_clips} test clips{unread}, {any_floor.num_measurable} of "
        f"{any_floor.num_classes} classes measurable; segments '{any_floor.definition}' "
        f"({DEFINITIONS[any_floor.definition].counted}: head > {high}, tail <= {low}): "
        f"{any_floor.num_head}/{any_floor.num_middle}/{any_floor.num_tail} classes."
        + (" Of a single seed an interval knows nothing of the chance in training." if one else "")
    )


def _of_floor(floor: MapSummary) -> list[float]:
    return [getattr(floor, segment) for segment in SEGMENTS]


def _number(fraction: float, digits: int = 2, of_nan: str = "-") -> str:
    return of_nan if math.isnan(fraction) else f"{100 * fraction:.{digits}f}"

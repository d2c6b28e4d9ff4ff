"""The rows of a group of measurements, as lines to print or to put into a page."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from actionrec.bench.rows import Row

MODULES = {
    "annotations": "actionrec.bench.annotations",
    "views": "actionrec.bench.views",
    "decoding": "actionrec.bench.decoding",
}


def measure(group: str, git_tree: Path | None, rounds: int, metadata: Path | None) -> list[Row]:
    """What the module of `group` measures. git_tree: a prepared tree of SlowFast's repository.

    metadata: the official workbook, for the annotations alone. Raises UserError.
    """
    module = import_module(MODULES[group])
    options = {"metadata": metadata} if group == "annotations" else {}
    rows: list[Row] = module.measure(git_tree, rounds, **options)
    return rows


def lines(title: str, rows: list[Row]) -> list[str]:
    """A Markdown table; the last column is the share of the speed that nothing can exceed."""
    said = [
        "",
        f"| {title} | SlowFast | here | ratio | of the ceiling |",
        "|---|---|---|---|---|",
    ]
    for row in rows:
        theirs = _number(row.upstream)
        ratio = f"{row.ratio:.1f}x" if row.ratio is not None else "-"
        share = f"{row.ceiling_share:.0%}" if row.ceiling_share is not None else "-"
        said.append(f"| {row.name} | {theirs} | {_number(row.ours)} | {ratio} | {share} |")
    return said


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}" if value < 1000 else f"{value:,.0f}"

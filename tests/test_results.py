"""The table of predictions is safe to open, and complete."""

from __future__ import annotations

import csv

import numpy as np

from actionrec.engine.results import save_results


def test_no_cell_is_a_formula_and_commas_in_names_are_kept(tmp_path):
    table = save_results(
        tmp_path / "deep" / "results.pkl",
        ids=("AAA", "-BB"),
        class_names=("=cmd()", "Eating, slowly"),
        scores=np.array([[0.25, 0.5], [1.0, 0.0]]),
        targets=np.array([[1, 1], [0, 0]]),
    )
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["clip_id", "labels", "'=cmd()", "Eating, slowly"],
        ["AAA", "0,1", "0.25", "0.5"],
        ["'-BB", "", "1", "0"],
    ]
    assert sorted(p.name for p in table.parent.iterdir()) == ["results.csv", "results.pkl"]

"""What the official class counts make of the losses: by training clips and by the workbook's table.

The two differ for classes that the workbook swaps; docs/losses.md has the numbers in a table.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import test_metrics_official_labels
import torch

import losses

labels = test_metrics_official_labels.labels
SWAPPED = (49, 50, 70, 74)
PAGE = Path(__file__).resolve().parents[1] / "docs" / "losses.md"


def margins(counts):
    """0.5 (n_min / n_c)^(1/4), n of a class without a clip taken as 1."""
    n = np.maximum(counts, 1)
    return 0.5 * (n.min() / n) ** 0.25


def drw_weights(counts, beta=0.9999):
    n = np.maximum(counts, 1)
    weights = (1 - beta) / (1 - beta**n)
    return weights * len(n) / weights.sum()


def test_margins_and_weights_are_those_of_either_count(labels):
    for counts in (labels.train_counts, labels.table_counts):
        loss = losses.build("LDAM", class_counts=counts)
        np.testing.assert_allclose(loss.margins, margins(counts), rtol=1e-6)
        loss.set_epoch(80)
        np.testing.assert_allclose(loss.class_weights, drw_weights(counts), rtol=1e-5)


def test_the_page_has_them_side_by_side(labels):
    for c in SWAPPED:
        train, table = labels.train_counts, labels.table_counts
        row = (
            f"| {c} | {train[c]} | {table[c]} "
            f"| {margins(train)[c]:.3f} | {margins(table)[c]:.3f} "
            f"| {drw_weights(train)[c]:.3f} | {drw_weights(table)[c]:.3f} |"
        )
        assert row in PAGE.read_text(), row


def test_ten_classes_move_in_or_out_of_the_released_tail(labels):
    tails = [
        losses.build("EQL", variant="released", class_counts=counts).tail
        for counts in (labels.train_counts, labels.table_counts)
    ]
    moved = torch.nonzero(tails[0] != tails[1]).flatten().tolist()
    assert moved == [10, 46, 49, 50, 76, 84, 99, 108, 118, 121]
    assert f"{' '.join(map(str, moved))}" in PAGE.read_text()

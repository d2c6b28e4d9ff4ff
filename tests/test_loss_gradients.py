"""The figure of the losses' slopes: what it shows is what the losses do."""

from __future__ import annotations

import numpy as np
import pytest

import losses
from actionrec.report.loss_gradients import CLASSES, LEFT_OUT, LOGITS, draw, slopes


@pytest.mark.parametrize("which", CLASSES)
def test_of_bce_it_is_the_sigmoid_less_the_target(which):
    sigmoid = 1 / (1 + np.exp(-LOGITS))
    for positive in (True, False):
        found = slopes("bce_loss", CLASSES[which], positive)
        np.testing.assert_allclose(found, sigmoid - positive, atol=1e-6)


def test_rare_classes_are_spared_as_negatives_or_pushed_as_positives():
    def steepest(name, which, positive):
        return np.abs(slopes(name, CLASSES[which], positive)).max()

    assert steepest("EQL", "tail", False) == pytest.approx(0.1, abs=0.03)  # 1 - gamma
    assert steepest("EQL", "head", False) > 0.99
    assert steepest("weighted_bce", "tail", True) > 100 * steepest("weighted_bce", "head", True)
    for name in ("CB_bce", "LDAM", "DB"):
        assert steepest(name, "tail", True) > 3 * steepest(name, "head", True)


def test_every_loss_has_a_panel(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "actionrec.report.loss_gradients.slopes",
        lambda name, count, positive: drawn.append(name) or np.zeros(len(LOGITS)),
    )
    draw(tmp_path / "figure.png")
    assert (tmp_path / "figure.png").read_bytes().startswith(b"\x89PNG")
    assert set(drawn) == set(losses.LOSSES) - set(LEFT_OUT)

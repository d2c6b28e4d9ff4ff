"""variant="released" against Animal Kingdom's published arithmetic, written out in numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import losses

COUNTS = np.array([6941.0, 511, 100, 101, 5, 1])
DATA = Path(__file__).resolve().parents[2] / "shared/data/animal_kingdom"


def batch(clips: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    return 2 * rng.normal(size=(clips, 6)), (rng.random((clips, 6)) < 0.4).astype(float)


def bce(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.maximum(z, 0) - z * y + np.log1p(np.exp(-np.abs(z)))


def found(name: str, z: np.ndarray, y: np.ndarray, epoch: int = 0, **params: object) -> np.ndarray:
    criterion = losses.build(
        name, variant="released", class_counts=COUNTS, reduction="none", **params
    )
    criterion.set_epoch(epoch)
    return criterion(torch.from_numpy(z), torch.from_numpy(y)).numpy()


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize(("alpha", "gamma"), [(1, 0), (1, 2), (0.25, 0.5)])
def test_released_focal_scales_every_term_by_alpha(alpha, gamma, soft):
    z, y = batch()
    y = 0.1 + 0.7 * y if soft else y
    p_t = np.exp(-bce(z, y))
    expected = alpha * (1 - p_t) ** gamma * bce(z, y)
    np.testing.assert_allclose(found("focal_loss", z, y, alpha=alpha, gamma=gamma), expected)


def test_released_focal_with_its_defaults_is_bce():
    z, y = batch()
    np.testing.assert_allclose(found("focal_loss", z, y), bce(z, y))


@pytest.mark.parametrize("epoch", [0, 79, 80, 159, 160, 199])
def test_released_ldam_takes_the_sum_of_the_margins_from_every_positive(epoch):
    z, y = batch()
    margins = 1 / np.sqrt(np.sqrt(COUNTS))
    margins = margins * (0.5 / margins.max())
    shifted = np.where(y == 1, z - (y @ margins)[:, None], z)
    # Beta 0, then 0.9999; the released code had no third beta for epoch 160 and stopped there.
    beta = 0.0 if epoch < 80 else 0.9999
    weights = (1 - beta) / (1 - beta**COUNTS)
    weights = weights / weights.sum() * len(COUNTS)
    expected = weights * bce(30 * shifted, y)
    np.testing.assert_allclose(found("LDAM", z, y, epoch), expected, rtol=1e-5, atol=1e-6)


def test_the_papers_ldam_equals_the_released_one_for_single_labels_only():
    z, y = batch()
    single = np.eye(6)[[0, 3, 5, 5, 1, 2, 4, 0]]
    for targets, same in ((single, True), (y, False)):
        paper = losses.build("LDAM", class_counts=COUNTS, reduction="none")
        terms = paper(torch.from_numpy(z), torch.from_numpy(targets)).numpy()
        assert np.allclose(found("LDAM", z, targets), terms) is same


def test_released_eql_draws_with_gamma_and_its_tail_has_at_most_a_hundred_clips():
    z, y = batch(20_000)
    torch.manual_seed(0)
    weights = found("EQL", z, y) / bce(z, y)
    assert (np.isclose(weights, 0) | np.isclose(weights, 1)).all()
    tail_negatives = (COUNTS <= 100)[None, :] & (y == 0)
    assert np.allclose(weights[~tail_negatives], 1)
    assert (weights[tail_negatives] == 0).mean() == pytest.approx(1.76e-3, abs=6e-4)


def test_released_eql_is_the_written_formula_when_all_is_dropped():
    z, y = batch()
    weights = 1 - (COUNTS <= 100)[None, :] * (1 - y)
    np.testing.assert_allclose(found("EQL", z, y, gamma=1), weights * bce(z, y))


@pytest.fixture(scope="module")
def real_targets() -> np.ndarray:
    if not (DATA / "AR_metadata.xlsx").is_file():
        pytest.skip("the official workbooks are not beside the project")
    openpyxl = pytest.importorskip("openpyxl")
    sheet = openpyxl.load_workbook(DATA / "AR_metadata.xlsx", read_only=True)["AR"]
    rows = sheet.iter_rows(values_only=True)
    column = {name: place for place, name in enumerate(next(rows))}
    labels = [str(r[column["labels"]]) for r in rows if r[column["type"]] == "train"]
    targets = np.zeros((len(labels), 140))
    for row, text in enumerate(labels):
        targets[row, [int(label) for label in text.split(",")]] = 1
    return targets


def test_on_the_real_training_labels_summing_triples_the_margin(real_targets):
    targets = torch.from_numpy(real_targets)
    means = []
    for variant in ("paper", "released"):
        criterion = losses.build("LDAM", class_counts=targets.sum(0), variant=variant)
        logits = torch.zeros_like(targets)
        margins = (logits - criterion.shifted(logits, targets))[targets == 1]
        means.append(round(margins.mean().item(), 3))
    assert means == [0.083, 0.283]


@pytest.mark.parametrize(("fraction", "most", "classes"), [(0.00176, 42, 69), (0.00418, 100, 90)])
def test_eql_has_the_tail_that_its_configurations_state(real_targets, fraction, most, classes):
    counts = torch.from_numpy(real_targets).sum(0)
    criterion = losses.build(
        "EQL", class_counts=counts, num_clips=len(real_targets), tail_fraction=fraction
    )
    assert torch.equal(criterion.tail, counts <= most)
    assert criterion.tail.sum() == classes
    if most == 42:
        assert counts[criterion.tail].sum() / counts.sum() == pytest.approx(0.017, abs=5e-4)
        # By the sum of the counts the same fraction would take in classes of up to 91 clips.
        assert losses.build("EQL", class_counts=counts).tail.sum() == 87


def test_on_the_real_training_labels_released_eql_changes_a_thousandth_of_the_terms(real_targets):
    targets = torch.from_numpy(real_targets)
    shares = []
    for variant in ("paper", "released"):
        criterion = losses.build(
            "EQL", class_counts=targets.sum(0), num_clips=len(targets), variant=variant
        )
        shares.append(criterion.gamma * (criterion.tail & (targets == 0)).double().mean().item())
    assert shares[0] > 0.25
    assert shares[1] == pytest.approx(0.0011, abs=5e-5)

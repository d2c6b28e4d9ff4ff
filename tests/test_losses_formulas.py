"""Each loss against its paper's formula, written out number by number in Python's float64."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import losses
from losses.weighting import class_balanced_weights

COUNTS = [6941, 511, 96, 5, 1]
SMALL = settings(max_examples=40, deadline=None)
counts_lists = st.lists(st.integers(0, 10**6), min_size=1, max_size=20)


def batch(seed: int = 0, clips: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(clips, len(COUNTS), generator=generator, dtype=torch.float64)
    targets = (torch.rand(clips, len(COUNTS), generator=generator) < 0.4).double()
    return logits, targets


def bce(z: float, y: float) -> float:
    p = 1 / (1 + math.exp(-z))
    return -(y * math.log(p) + (1 - y) * math.log(1 - p))


def table(logits: Tensor, targets: Tensor, formula: Callable[[int, float, float], float]) -> Tensor:
    rows = zip(logits.tolist(), targets.tolist(), strict=True)
    return torch.tensor(
        [
            [formula(c, z, y) for c, (z, y) in enumerate(zip(zs, ys, strict=True))]
            for zs, ys in rows
        ],
        dtype=torch.float64,
    )


def terms(name: str, **keywords: object) -> losses.Loss:
    keywords = {"class_counts": COUNTS, "num_clips": 8000, **keywords}
    return losses.build(name, reduction="none", **keywords)


def test_bce_is_the_written_formula():
    logits, targets = batch()
    expected = table(logits, targets, lambda c, z, y: bce(z, y))
    torch.testing.assert_close(terms("bce_loss")(logits, targets), expected)
    torch.testing.assert_close(terms("bce")(logits.sigmoid(), targets), expected)


@pytest.mark.parametrize("alpha", [None, 0.25, 1.0])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1, 2.0, 5.0])
def test_focal_is_the_written_formula(gamma, alpha):
    def formula(c: int, z: float, y: float) -> float:
        p = 1 / (1 + math.exp(-z))
        p_t = p if y == 1 else 1 - p
        alpha_t = 1 if alpha is None else alpha if y == 1 else 1 - alpha
        return -alpha_t * (1 - p_t) ** gamma * math.log(p_t)

    logits, targets = batch(1)
    found = terms("focal_loss", gamma=gamma, alpha=alpha)(logits, targets)
    torch.testing.assert_close(found, table(logits, targets, formula))


def test_focal_at_a_logit_of_zero_is_a_quarter_of_log_two():
    found = losses.build("focal_loss")(torch.zeros(1, 2), torch.tensor([[0.0, 1.0]]))
    assert found.item() == pytest.approx(math.log(2) / 4)


def test_focal_of_gamma_zero_is_bce_for_soft_targets_too():
    logits, targets = batch(2)
    soft = 0.1 + 0.7 * targets
    found = terms("focal_loss", gamma=0)(logits, soft)
    torch.testing.assert_close(found, terms("bce_loss")(logits, soft))


@pytest.mark.parametrize("epoch", [0, 79, 80, 81, 160, 199])
def test_ldam_is_the_written_formula_in_every_epoch(epoch):
    margin = [0.5 * (1 / n) ** 0.25 for n in COUNTS]
    weight = [(1 - 0.9999) / (1 - 0.9999**n) for n in COUNTS]
    scale = len(COUNTS) / sum(weight)

    def formula(c: int, z: float, y: float) -> float:
        # In double precision exp() of the scaled logits still holds, log(1 - p) does not.
        x = 30 * (z - margin[c] * y)
        loss = max(x, 0) - x * y + math.log1p(math.exp(-abs(x)))
        return loss * (weight[c] * scale if epoch >= 80 else 1)

    criterion = terms("LDAM")
    criterion.set_epoch(epoch)
    logits, targets = batch(3)
    expected = table(logits, targets, formula)
    # The margins are kept in float32.
    torch.testing.assert_close(criterion(logits, targets), expected, rtol=1e-5, atol=1e-6)


def test_ldam_margins_are_max_m_for_the_rarest_class_and_fall_with_the_fourth_root():
    criterion = losses.build("LDAM", class_counts=[16, 1, 81])
    torch.testing.assert_close(criterion.margins, torch.tensor([0.25, 0.5, 0.5 / 3]))


def test_ldam_without_margin_and_scale_is_bce():
    logits, targets = batch(4)
    found = terms("LDAM", max_m=0, s=1)(logits, targets)
    torch.testing.assert_close(found, terms("bce_loss")(logits, targets))


def test_drw_epoch_and_beta_can_be_chosen():
    criterion = losses.build("LDAM", class_counts=[1, 2], drw_epoch=3, drw_beta=0.5)
    criterion.set_epoch(2)
    assert criterion.class_weights.tolist() == [1, 1]
    criterion.set_epoch(3)  # 1 - 0.5 = 0.5 and 1 - 0.25 = 0.75, so 2 : 4/3, scaled to sum to 2
    torch.testing.assert_close(criterion.class_weights, torch.tensor([1.2, 0.8]))
    criterion.set_epoch(0)
    assert criterion.class_weights.tolist() == [1, 1]


def test_eql_is_the_written_formula_for_its_draws():
    tail = [n / 8000 < 1.76e-3 for n in COUNTS]
    assert tail == [False, False, False, True, True]
    logits, targets = batch(5, clips=200)
    draws = torch.rand(200, len(COUNTS), generator=torch.Generator().manual_seed(7)) < 0.9
    expected = table(logits, targets, lambda c, z, y: bce(z, y))
    for clip in range(200):
        for c in range(len(COUNTS)):
            beta = int(draws[clip, c])
            expected[clip, c] *= 1 - beta * tail[c] * (1 - targets[clip, c])
    criterion = terms("EQL", generator=torch.Generator().manual_seed(7))
    torch.testing.assert_close(criterion(logits, targets), expected)


def test_eql_drops_nine_tenths_of_the_negatives_of_tail_classes_and_nothing_else():
    criterion = terms("EQL", generator=torch.Generator().manual_seed(0))
    logits, targets = batch(6, clips=20_000)
    dropped = criterion(logits, targets) == 0
    assert not dropped[:, :3].any()
    assert not dropped[targets == 1].any()
    assert dropped[:, 3:][targets[:, 3:] == 0].double().mean() == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("change", [{"tail_fraction": 0}, {"gamma": 0}])
def test_eql_without_tail_or_without_draws_is_bce(change):
    logits, targets = batch(7)
    found = terms("EQL", **change)(logits, targets)
    torch.testing.assert_close(found, terms("bce_loss")(logits, targets))


def test_eql_draws_from_torchs_default_generator():
    logits, targets = batch(8, clips=50)
    criterion = terms("EQL", gamma=0.5)
    torch.manual_seed(1)
    first, second = criterion(logits, targets), criterion(logits, targets)
    torch.manual_seed(1)
    assert torch.equal(criterion(logits, targets), first)
    assert not torch.equal(first, second)


def test_eql_without_the_number_of_clips_takes_the_sum_of_the_counts():
    rare = losses.build("EQL", class_counts=[995, 2, 1, 0])
    assert rare.tail.tolist() == [False, False, True, True]  # 1.76e-3 of 998 is 1.76
    for counts in (COUNTS, torch.tensor(COUNTS), np.array(COUNTS)):
        found = losses.build("EQL", class_counts=counts)
        assert torch.equal(found.tail, terms("EQL", num_clips=sum(COUNTS)).tail)
    assert losses.build("EQL", class_counts=[0, 0], tail_fraction=2).tail.all()


def test_eql_has_a_larger_tail_by_the_sum_where_clips_have_several_labels():
    counts = [900, 900, 2]  # of 1000 clips
    by_clips = losses.build("EQL", class_counts=counts, num_clips=1000)
    assert by_clips.tail.tolist() == [False, False, False]
    assert losses.build("EQL", class_counts=counts).tail.tolist() == [False, False, True]


def test_softmax_losses_are_the_written_formula():
    logits, _ = batch(9)
    targets = torch.softmax(batch(10)[0], dim=1)
    expected = torch.zeros(4, dtype=torch.float64)
    for clip in range(4):
        total = sum(math.exp(z) for z in logits[clip].tolist())
        for c in range(len(COUNTS)):
            expected[clip] -= targets[clip, c] * math.log(math.exp(logits[clip, c]) / total)
    torch.testing.assert_close(terms("soft_cross_entropy")(logits, targets), expected)
    numbers = torch.tensor([0, 2, 4, 1])
    one_hot = torch.nn.functional.one_hot(numbers, len(COUNTS))
    by_number = losses.build("cross_entropy")(logits, numbers)
    torch.testing.assert_close(by_number, losses.build("cross_entropy")(logits, one_hot))


@SMALL
@given(counts=counts_lists, beta=st.floats(0, 0.99999))
def test_class_balanced_weights_sum_to_c_and_never_rise_with_the_count(counts, beta):
    weights = class_balanced_weights(counts, beta)
    assert weights.sum().item() == pytest.approx(len(counts))
    by_count = weights[torch.tensor(counts).argsort()]
    assert (by_count.diff() <= 1e-12).all()


@pytest.mark.parametrize(("beta", "expected"), [(0.0, [1, 1, 1]), (1 - 1e-15, [1.5, 0.9, 0.6])])
def test_class_balanced_weights_go_from_equal_to_inverse_counts(beta, expected):
    counts = [6, 10, 15]  # 1/6 : 1/10 : 1/15 = 5 : 3 : 2
    torch.testing.assert_close(
        class_balanced_weights(counts, beta), torch.tensor(expected, dtype=torch.float64)
    )


def test_a_class_without_a_clip_counts_as_one():
    for name in ("LDAM", "EQL"):
        none = losses.build(name, class_counts=[9, 0], num_clips=9).state_dict()
        one = losses.build(name, class_counts=[9, 1], num_clips=9).state_dict()
        torch.testing.assert_close(none, one)
    assert losses.build("LDAM", class_counts=[9, 0]).margins[1] == 0.5


@pytest.mark.parametrize("counts", [[3, -1], [3, math.nan], [math.inf, 3], []])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="class_counts"):
        losses.build("LDAM", class_counts=counts)

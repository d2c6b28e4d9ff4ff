"""The losses that came after Animal Kingdom's, each against its formula written out in float64."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path

import pytest
import torch
from test_losses_formulas import COUNTS, batch, bce, table, terms

import losses

N = 8000
PI = [n / N for n in COUNTS]


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


def effective_weights(beta):
    raw = [(1 - beta) / (1 - beta**n) for n in COUNTS]
    return [len(raw) * w / sum(raw) for w in raw]


def check(name, formula, seed=0, **params):
    logits, targets = batch(seed, clips=6)
    found = terms(name, num_clips=N, **params)(logits, targets)
    torch.testing.assert_close(found, table(logits, targets, formula), rtol=2e-6, atol=1e-9)


@pytest.mark.parametrize("beta", [0.0, 0.9, 0.9999])
def test_class_balanced_bce_and_focal(beta):
    weights = effective_weights(beta)
    check("CB_bce", lambda c, z, y: weights[c] * bce(z, y), beta=beta)

    def focal(c, z, y):
        p_t = sigmoid(z) if y else 1 - sigmoid(z)
        return -weights[c] * (1 - p_t) ** 2 * math.log(p_t)

    check("CB_focal", focal, beta=beta)


@pytest.mark.parametrize("power", [0, 0.5, 1])
def test_weighted_bce(power):
    def formula(c, z, y):
        p = sigmoid(z)
        return -((1 / PI[c] - 1) ** power * y * math.log(p) + (1 - y) * math.log(1 - p))

    check("weighted_bce", formula, power=power)


def test_balanced_bce_weighs_both_sides_of_a_class_alike():
    def formula(c, z, y):
        p = sigmoid(z)
        return -y * math.log(p) / (2 * PI[c]) - (1 - y) * math.log(1 - p) / (2 * (1 - PI[c]))

    check("balanced_bce", formula)
    positives = PI[0] * N / (2 * PI[0])
    assert positives == pytest.approx((1 - PI[0]) * N / (2 * (1 - PI[0])))


def test_smoothed_bce():
    check("smoothed_bce", lambda c, z, y: bce(z, 0.8 * y + 0.1), epsilon=0.2)


@pytest.mark.parametrize("tau", [0, 0.5, 1])
def test_logit_adjusted_bce(tau):
    odds = [math.log(pi / (1 - pi)) for pi in PI]
    check("logit_adjusted_bce", lambda c, z, y: bce(z + tau * odds[c], y), tau=tau)


@pytest.mark.parametrize(("gamma_pos", "gamma_neg"), [(0, 0), (1, 4), (0, 0.5), (2, 2)])
@pytest.mark.parametrize("margin", [0, 0.05, 0.4])
def test_asl(gamma_pos, gamma_neg, margin):
    def formula(c, z, y):
        p = sigmoid(z)
        p_m = max(p - margin, 0)
        positive = (1 - p) ** gamma_pos * math.log(p)
        negative = (p_m**gamma_neg if p_m else 0.0) * math.log(1 - p_m)
        return -y * positive - (1 - y) * negative

    check("ASL", formula, gamma_pos=gamma_pos, gamma_neg=gamma_neg, margin=margin)


def test_asl_is_timms():
    timm = importlib.util.find_spec("timm")
    if timm is None or timm.origin is None:
        pytest.skip("timm is not installed")
    # Its one file: all of timm wants torchvision's operators.
    path = Path(timm.origin).parent / "loss" / "asymmetric_loss.py"
    spec = importlib.util.spec_from_file_location("asymmetric_loss", path)
    timm = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(timm)
    logits, targets = batch(3, clips=6)
    theirs = timm.AsymmetricLossMultiLabel(gamma_neg=4, gamma_pos=1, clip=0.05)
    theirs.reduction = "sum"  # of older versions the only one
    found = losses.build("ASL", reduction="sum")(logits, targets)
    expected = theirs(logits, targets).double()
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("focal", [False, True])
def test_distribution_balanced(focal):
    alpha, beta, mu, kappa, scale, gamma = 0.2, 8.0, 0.25, 0.07, 4.0, 1.5
    logits, targets = batch(0, clips=6)
    expected = []
    for zs, ys in zip(logits.tolist(), targets.tolist(), strict=True):
        of_clip = sum(1 / n for n, y in zip(COUNTS, ys, strict=True) if y)
        row = []
        for c, (z, y) in enumerate(zip(zs, ys, strict=True)):
            weight = 1.0  # of a clip without a positive
            if of_clip:
                weight = alpha + sigmoid(beta * (1 / COUNTS[c] / of_clip - mu))
            v = z - kappa * math.log(1 / PI[c] - 1)
            loss = math.log1p(math.exp(-v)) if y else math.log1p(math.exp(scale * v))
            factor = (1 - math.exp(-loss)) ** gamma if focal else 1
            row.append(weight * factor * (loss if y else loss / scale))
        expected.append(row)
    params = dict(alpha=alpha, beta=beta, mu=mu, kappa=kappa, neg_scale=scale)
    name, params = ("DB_focal", {**params, "gamma": gamma}) if focal else ("DB", params)
    found = terms(name, num_clips=N, **params)(logits, targets)
    torch.testing.assert_close(found, torch.tensor(expected).double(), rtol=2e-6, atol=1e-9)


def test_a_clip_without_a_positive_is_not_rebalanced():
    logits, none = torch.zeros(1, len(COUNTS)), torch.zeros(1, len(COUNTS))
    loss = terms("DB", num_clips=N, kappa=0)(logits, none)
    torch.testing.assert_close(loss, torch.full_like(loss, math.log(2) / 5))


def test_eqlv2_weighs_by_the_gradients_so_far():
    loss = terms("EQLv2")
    positive, negative = [0.0] * len(COUNTS), [0.0] * len(COUNTS)
    for seed in range(4):
        logits, targets = batch(seed, clips=6)
        weights = []
        for c in range(len(COUNTS)):
            g = positive[c] / negative[c] if negative[c] else 100.0
            f = 1 / (1 + math.exp(-12 * (g - 0.8)))
            weights.append((1 + 4 * (1 - f), f))
        of = {1.0: [w for w, _ in weights], 0.0: [w for _, w in weights]}
        expected = table(logits, targets, lambda c, z, y, of=of: of[y][c] * bce(z, y))
        torch.testing.assert_close(loss(logits, targets), expected, rtol=1e-5, atol=1e-8)
        for zs, ys in zip(logits.tolist(), targets.tolist(), strict=True):
            for c, (z, y) in enumerate(zip(zs, ys, strict=True)):
                size = abs(sigmoid(z) - y) * weights[c][0 if y else 1]
                if y:
                    positive[c] += size
                else:
                    negative[c] += size
    assert loss.state_dict()["positive"].tolist() == pytest.approx(positive, rel=1e-5)
    before = {k: v.clone() for k, v in loss.state_dict().items()}
    loss.eval()(logits, targets)
    assert all(torch.equal(before[k], v) for k, v in loss.state_dict().items())


def test_two_way_is_the_written_formula():
    logits, targets = batch(1, clips=6)
    targets[0] = 0  # a clip without a label, and a class without a clip
    targets[:, 2] = 0

    def one_way(rows):
        values = []
        for zs, ys in rows:
            positive = [z for z, y in zip(zs, ys, strict=True) if y]
            negative = [z for z, y in zip(zs, ys, strict=True) if not y]
            if positive:
                of_neg = math.log(sum(math.exp(z) for z in negative)) if negative else -math.inf
                of_pos = 4 * math.log(sum(math.exp(-z / 4) for z in positive))
                values.append(math.log1p(math.exp(of_neg + of_pos)))
        return sum(values) / len(values)

    clips = list(zip(logits.tolist(), targets.tolist(), strict=True))
    classes = list(zip(logits.T.tolist(), targets.T.tolist(), strict=True))
    found = losses.build("two_way")(logits, targets)
    assert found.item() == pytest.approx(one_way(clips) + one_way(classes), rel=1e-9)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("CB_bce", {"beta": 0}),
        ("CB_focal", {"beta": 0, "gamma": 0}),
        ("weighted_bce", {"power": 0}),
        ("smoothed_bce", {"epsilon": 0}),
        ("logit_adjusted_bce", {"tau": 0}),
        ("ASL", {"gamma_pos": 0, "gamma_neg": 0, "margin": 0}),
        ("DB", {"alpha": 0.5, "beta": 0, "kappa": 0, "neg_scale": 1}),
        ("EQLv2", {}),
        ("EQL", {"tail_fraction": 0}),
        ("bce_loss", {"drw_epoch": 9}),
    ],
)
def test_at_its_limit_a_loss_is_bce(name, params):
    logits, targets = batch(2)
    expected = terms("bce_loss")(logits, targets)
    torch.testing.assert_close(terms(name, num_clips=N, **params)(logits, targets), expected)


DEFERRABLE = [n for n in losses.LOSSES if losses.parameters(n).get("drw_epoch", 0) is None]


@pytest.mark.parametrize("name", DEFERRABLE)
def test_drw_weighs_every_loss_that_takes_class_weights(name):
    logits, targets = batch(2)
    weights = torch.tensor(effective_weights(0.999), dtype=torch.float64)
    plain = terms(name, num_clips=N).eval()
    deferred = terms(name, num_clips=N, drw_epoch=3, drw_beta=0.999).eval()
    for epoch, factor in ((0, 1.0), (2, 1.0), (3, weights), (50, weights), (1, 1.0)):
        deferred.set_epoch(epoch)
        torch.manual_seed(0)
        expected = factor * plain(logits, targets)
        torch.manual_seed(0)
        torch.testing.assert_close(deferred(logits, targets), expected, rtol=1e-6, atol=1e-9)
        assert deferred.phase() == ("plain" if isinstance(factor, float) else "reweighted")
    assert "not reached in 2 epochs" in deferred.remarks(2)[0] and not deferred.remarks(4)


def test_drw_is_in_the_checkpoint_and_needs_counts():
    deferred = terms("ASL", drw_epoch=1)
    deferred.set_epoch(1)
    restored = terms("ASL", drw_epoch=1)
    restored.load_state_dict(deferred.state_dict())
    assert torch.equal(restored.class_weights, deferred.class_weights)
    with pytest.raises(ValueError, match="ASL: the number of training clips of each class"):
        losses.build("ASL", drw_epoch=1)
    assert {"two_way", "LDAM", "bce", "cross_entropy"}.isdisjoint(DEFERRABLE)

"""The replaced slowfast/models/losses.py in a tree: the original's names, ours, the run's state."""

from __future__ import annotations

import importlib
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import losses

FILE = Path(__file__).resolve().parents[1] / "code_new/slowfast/models/losses.py"
COUNTS = [900, 30, 2]
ORIGINAL = """
import torch.nn as nn
_LOSSES = {"cross_entropy": nn.CrossEntropyLoss, "bce": nn.BCELoss}
def get_loss_func(loss_name):
    if loss_name not in _LOSSES:
        raise NotImplementedError("Loss {} is not supported".format(loss_name))
    return _LOSSES[loss_name]
"""


@pytest.fixture
def get_loss_func(tmp_path, monkeypatch) -> Callable[[str], Callable[..., nn.Module]]:
    """The replaced file in a tree with the package's own original beside it, as links lay it."""
    models = tmp_path / "slowfast" / "models"
    models.mkdir(parents=True)
    for package in (models, models.parent):
        (package / "__init__.py").touch()
    (models / "losses_original.py").write_text(ORIGINAL)
    (models / "losses.py").symlink_to(FILE)
    for name in [n for n in sys.modules if n.split(".")[0] == "slowfast"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("slowfast.models.losses").get_loss_func
    losses.set_run_counts(None)
    for name in [n for n in sys.modules if n.split(".")[0] == "slowfast"]:
        del sys.modules[name]


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    preds = torch.randn(4, 3, generator=generator)
    return preds, torch.tensor([[1.0, 0, 1], [0, 1, 0], [0, 0, 0], [1, 1, 1]], dtype=torch.float64)


@pytest.mark.parametrize("name", ["bce_loss", "focal_loss", "LDAM", "EQL"])
def test_the_published_usage_runs_as_written(get_loss_func, batch, name):
    losses.set_run_counts(COUNTS, num_clips=1000)
    cfg = types.SimpleNamespace(MODEL=types.SimpleNamespace(LOSS_FUNC=name))
    preds, labels = batch
    cur_epoch = 170

    loss_fun = get_loss_func(cfg.MODEL.LOSS_FUNC)()
    loss_fun.reset_epoch(cur_epoch)
    torch.manual_seed(0)
    loss = loss_fun(preds, labels)

    criterion = losses.build(name, class_counts=COUNTS, num_clips=1000)
    criterion.set_epoch(cur_epoch)
    torch.manual_seed(0)
    assert torch.equal(loss, criterion(preds, labels))


def test_slowfasts_names_give_the_originals_classes(get_loss_func):
    assert get_loss_func("cross_entropy") is nn.CrossEntropyLoss
    assert get_loss_func("bce") is nn.BCELoss


def test_slowfasts_names_that_the_package_lacks_equal_torchs_losses(get_loss_func, batch):
    preds, labels = batch
    found = get_loss_func("bce_logit")(reduction="mean")(preds, labels)
    assert torch.equal(found, nn.BCEWithLogitsLoss()(preds, labels.float()))
    shares = labels.float().softmax(dim=1)
    found = get_loss_func("soft_cross_entropy")(reduction="mean")(preds, shares)
    torch.testing.assert_close(found, -(shares * preds.log_softmax(1)).sum(1).mean())


def test_an_unknown_name_is_refused_at_once(get_loss_func):
    with pytest.raises(KeyError, match="unknown loss 'ldam'; known: LDAM, "):
        get_loss_func("ldam")


def test_a_loss_built_anew_in_every_step_continues_its_state(get_loss_func, batch):
    losses.set_run_counts(COUNTS, params={"LDAM": {"drw_epoch": 3}})
    before = get_loss_func("LDAM")(reduction="mean")(*batch)
    get_loss_func("LDAM")().reset_epoch(3)
    weighted = get_loss_func("LDAM")(reduction="mean")(*batch)
    assert not torch.equal(before, weighted)
    terms = get_loss_func("LDAM")(reduction="none")(*batch)
    torch.testing.assert_close(terms.mean(), weighted)
    losses.set_run_counts(COUNTS, params={"LDAM": {"drw_epoch": 3}})
    assert torch.equal(get_loss_func("LDAM")(reduction="mean")(*batch), before)


def test_the_parameters_of_the_run_belong_to_its_loss(get_loss_func, batch):
    losses.set_run_counts(COUNTS, params={"focal_loss": {"gamma": 3.0}})
    expected = losses.build("focal_loss", gamma=3.0)(*batch)
    assert torch.equal(get_loss_func("focal_loss")()(*batch), expected)
    assert torch.equal(
        get_loss_func("LDAM")()(*batch), losses.build("LDAM", class_counts=COUNTS)(*batch)
    )


@pytest.mark.parametrize("name", ["LDAM", "EQL"])
def test_without_counts_one_line_says_where_they_come_from(get_loss_func, name):
    with pytest.raises(ValueError, match=f"^{name}: .*class_counts= .*LOSS.CLASS_COUNTS") as caught:
        get_loss_func(name)()
    assert "\n" not in str(caught.value)


def test_counts_can_be_given_by_hand(get_loss_func, batch):
    found = get_loss_func("LDAM")(class_counts=COUNTS)(*batch)
    assert torch.equal(found, losses.build("LDAM", class_counts=COUNTS)(*batch))
    get_loss_func("EQL")(class_counts=COUNTS, num_clips=1000)(*batch)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_reduce_is_reduction(get_loss_func, batch, reduction):
    found = get_loss_func("focal_loss")(reduce=reduction)(*batch)
    assert torch.equal(found, losses.build("focal_loss", reduction=reduction)(*batch))


@pytest.mark.parametrize("name", ["bce_loss", "focal_loss", "EQL"])
def test_logits_false_takes_probabilities(get_loss_func, batch, name):
    losses.set_run_counts(COUNTS, num_clips=1000)
    preds, labels = batch
    torch.manual_seed(0)
    expected = get_loss_func(name)()(preds.double(), labels)
    torch.manual_seed(0)
    found = get_loss_func(name)(logits=False)(preds.double().sigmoid(), labels)
    torch.testing.assert_close(found, expected)


def test_certain_probabilities_give_torchs_bce_and_a_finite_gradient(get_loss_func):
    p = torch.tensor([[0.0, 0, 1, 1, 1e-30, 0.3]], requires_grad=True)
    y = torch.tensor([[0.0, 1, 0, 1, 1, 1]])
    found = get_loss_func("bce_loss")(logits=False, reduce="none")(p, y)
    torch.testing.assert_close(found, F.binary_cross_entropy(p, y, reduction="none"))
    found.sum().backward()
    assert torch.isfinite(p.grad).all()


def test_logits_false_is_refused_in_one_line_where_it_cannot_be(get_loss_func, batch):
    with pytest.raises(ValueError, match="LDAM works on logits; it cannot take probabilities"):
        get_loss_func("LDAM")(logits=False, class_counts=COUNTS)
    preds, labels = batch
    with pytest.raises(ValueError, match="takes probabilities, but some are outside 0..1"):
        get_loss_func("bce_loss")(logits=False)(preds, labels)

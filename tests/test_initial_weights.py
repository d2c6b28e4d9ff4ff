"""What fits by name and shape is loaded, all else is said."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from actionrec.engine.initial_weights import load_exactly, load_initial_weights
from actionrec.errors import UserError


def tiny(num_classes: int = 3, conv: type[nn.Module] = nn.Conv3d, kernel: object = 3) -> nn.Module:
    norm = nn.BatchNorm3d if conv is nn.Conv3d else nn.BatchNorm2d
    layers = {"stem": conv(2, 4, kernel), "bn": norm(4), "head": nn.Linear(4, num_classes)}
    return nn.Sequential(OrderedDict(layers))


def copy_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def unchanged(model: nn.Module, before: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_equal_models_load_whole():
    source, model = tiny(), tiny()
    report = load_initial_weights(model, source.state_dict())
    assert unchanged(model, copy_of(source))
    assert report.loaded == tuple(source.state_dict())
    assert report.lines() == ["initial weights: 9 tensors loaded"]


def test_a_head_of_another_size_keeps_its_initial_values_and_is_said():
    source, model = tiny(400), tiny(12)
    before = copy_of(model)
    report = load_initial_weights(model, source.state_dict())
    assert torch.equal(model.stem.weight, source.stem.weight)
    assert torch.equal(model.head.weight, before["head.weight"])
    assert report.dropped == (("head.weight", (400, 4), (12, 4)), ("head.bias", (400,), (12,)))
    expected = "not loaded, starts anew: head.weight is (400, 4) in the file, (12, 4) in the model"
    assert expected in report.lines()


def test_missing_and_unexpected_names_are_said_in_one_short_line_each():
    source = copy_of(tiny())
    del source["head.bias"], source["bn.num_batches_tracked"]
    source |= {f"extra.{index}": torch.zeros(1) for index in range(8)}
    report = load_initial_weights(tiny(), source)
    assert report.missing == ("head.bias",)
    assert report.lines()[1:] == [
        "not in the file, start anew: head.bias",
        "in the file only, ignored: extra.0, extra.1, extra.2, extra.3, extra.4 and 3 more",
    ]


def test_patterns_are_cleared_from_names():
    source = {f"module.encoder.{name}": t for name, t in tiny().state_dict().items()}
    model = tiny()
    report = load_initial_weights(model, source, clear_name_pattern=("module.", "encoder."))
    assert len(report.loaded) == 9
    assert torch.equal(model.stem.weight, source["module.encoder.stem.weight"])


@pytest.mark.parametrize("one_frame", [False, True])
def test_inflation_gives_a_still_clip_what_the_2d_model_gives_its_frame(one_frame):
    flat, model = tiny(conv=nn.Conv2d).double(), tiny(kernel=(5, 3, 3)).double()
    source = dict(flat.state_dict())
    if one_frame:  # as SlowFast's own 2D models have it
        source["stem.weight"] = source["stem.weight"].unsqueeze(2)
    report = load_initial_weights(model, source, inflate=True)
    assert report.inflated == ("stem.weight",)
    frame = torch.randn(1, 2, 6, 6, dtype=torch.float64)
    still = frame.unsqueeze(2).repeat(1, 1, 5, 1, 1)
    torch.testing.assert_close(model.stem(still)[:, :, 0], flat.stem(frame))
    assert "inflated from 2D to 3D: stem.weight" in report.lines()


def test_without_inflation_or_with_another_kernel_a_2d_weight_is_dropped():
    flat = tiny(conv=nn.Conv2d).state_dict()
    assert load_initial_weights(tiny(), flat).dropped[0][0] == "stem.weight"
    other = load_initial_weights(tiny(kernel=(3, 5, 5)), flat, inflate=True)
    assert other.dropped == (("stem.weight", (4, 2, 3, 3), (4, 2, 3, 5, 5)),)


@pytest.mark.parametrize("source", [{}, {"backbone.w": torch.ones(2)}])
def test_nothing_that_fits_is_an_error_that_names_the_keys_to_set(source):
    model = tiny()
    before = copy_of(model)
    with pytest.raises(UserError, match="none of the file's .*CHECKPOINT_CLEAR_NAME_PATTERN"):
        load_initial_weights(model, source)
    assert unchanged(model, before)


def test_statistics_alone_are_not_weights():
    source = {"bn.running_mean": torch.zeros(4), "bn.num_batches_tracked": torch.tensor(3)}
    with pytest.raises(UserError, match="none of the file's 2 tensors fits"):
        load_initial_weights(tiny(), source)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_value_that_is_not_finite_is_named_and_leaves_the_model_unchanged(value):
    source = copy_of(tiny())
    source["head.weight"][1, 2] = value
    model = tiny()
    before = copy_of(model)
    with pytest.raises(UserError, match="head.weight holds NaN or infinity"):
        load_initial_weights(model, source)
    assert unchanged(model, before)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.zeros(4, dtype=torch.int64), "bn.weight is torch.int64 in the file, torch.float32"),
        ([0.0, 1.0], "bn.weight is a list, not a tensor"),
    ],
)
def test_another_kind_of_entry_is_an_error(value, message):
    with pytest.raises(UserError, match=message):
        load_initial_weights(tiny(), {**tiny().state_dict(), "bn.weight": value})


def test_half_precision_weights_load():
    source = tiny().half().state_dict()
    model = tiny()
    load_initial_weights(model, source)
    assert model.stem.weight.dtype == torch.float32
    assert torch.equal(model.stem.weight, source["stem.weight"].float())


def test_load_exactly_wants_every_name_and_shape():
    source, path = tiny(), Path("run/best.pyth")
    model = tiny()
    load_exactly(model, source.state_dict(), path)
    assert unchanged(model, copy_of(source))
    wrong = copy_of(tiny(5))
    wrong["extra"] = wrong.pop("stem.bias")
    with pytest.raises(UserError) as caught:
        load_exactly(model, wrong, path)
    assert str(caught.value) == (
        "run/best.pyth: was saved by another model; not in the file: stem.bias; "
        "not in the model: extra; head.weight is (5, 4) in the file, (3, 4) in the model; "
        "head.bias is (5,) in the file, (3,) in the model. "
        "Use the configuration that it was trained with"
    )
    assert unchanged(model, copy_of(source))

"""The configurations of the losses: parameters under a loss's name, so that it can be swapped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import losses
from actionrec.engine.criterion import check_loss, own_params
from actionrec.types import LossSettings

FOLDER = Path(__file__).resolve().parents[1] / "configs/AK"
OURS = {"focal": "focal_loss", "LDAM": "LDAM", "EQL": "EQL"}
FILES = [path for suffix in OURS for path in sorted(FOLDER.glob(f"*_{suffix}.yaml"))]
each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)


def params(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text())["LOSS"]["PARAMS"]


def test_each_model_has_a_configuration_of_each_loss():
    assert len(FILES) == 9


@each_file
def test_the_parameters_stand_under_the_name_of_the_loss(path):
    name = OURS[path.stem.rpartition("_")[2]]
    assert yaml.safe_load(path.read_text())["MODEL"]["LOSS_FUNC"] == name
    assert list(params(path)) == [name]
    assert set(params(path)[name]) <= set(losses.parameters(name))
    assert own_params(LossSettings(name, params(path))) == params(path)[name]


@each_file
@pytest.mark.parametrize("name", ["bce_loss", "focal_loss", "LDAM", "EQL"])
def test_each_loss_can_be_chosen_over_it_in_each_variant(path, name):
    check_loss(LossSettings(name, params(path)))
    check_loss(LossSettings(name, {**params(path), "variant": "released"}))


@pytest.mark.parametrize("path", [p for p in FILES if p.stem.endswith("focal")], ids=str)
def test_the_published_focal_loss_is_two_parameters_away(path):
    given = {**params(path), "variant": "released", "gamma": 0}
    assert "LOSS.PARAMS.variant released LOSS.PARAMS.gamma 0" in path.read_text()
    assert losses.build("focal_loss", **own_params(LossSettings("focal_loss", given))).gamma == 0

"""A sweep file: what it means, and every mistake in one line, before anything is run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from actionrec.errors import SecurityError, UserError
from actionrec.sweep.sweep_file import HeadSettings, parse_sweep
from actionrec.types import LossSettings

REPO = Path(__file__).resolve().parents[1]
PATH = Path("sweep.yaml")
GOOD = {
    "models": {"demo": "configs/AK/DEMO.yaml"},
    "losses": {"bce_loss": None, "g1": {"loss": "focal_loss", "gamma": 1}},
    "seeds": [0, 7],
    "output": "results/sweep",
}


def parse(**changes):
    return parse_sweep({**GOOD, **changes}, PATH)


def test_a_file_means_what_it_says():
    sweep = parse(
        baseline="g1",
        overrides={"SOLVER.MAX_EPOCH": 3, "DATA.MEAN": [0.1, 0.2, 0.3]},
        weights="a.pyth",
        head={"epochs": 5, "method": "sgd", "lr": "1e-3"},
    )
    assert sweep.models == {"demo": Path("configs/AK/DEMO.yaml")}
    assert sweep.losses == {
        "bce_loss": LossSettings("bce_loss"),
        "g1": LossSettings("focal_loss", {"gamma": 1}),
    }
    assert (sweep.seeds, sweep.baseline, sweep.output) == ((0, 7), "g1", Path("results/sweep"))
    assert sweep.overrides == {"SOLVER.MAX_EPOCH": "3", "DATA.MEAN": "[0.1, 0.2, 0.3]"}
    assert sweep.weights == {"demo": Path("a.pyth")}
    assert sweep.head == HeadSettings(epochs=5, method="sgd", lr=0.001)


def test_lists_and_defaults():
    sweep = parse(models=["a/SLOW.yaml", "b/X3D.yaml"], losses=["ASL", "LDAM"])
    assert sweep.models == {"SLOW": Path("a/SLOW.yaml"), "X3D": Path("b/X3D.yaml")}
    assert list(sweep.losses) == ["ASL", "LDAM"] and sweep.baseline == "ASL"
    assert sweep.head == HeadSettings() and sweep.weights == {}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lossess": 1}, "lossess: unknown key; known: losses,"),
        ({"output": None}, "output: is missing"),
        ({"models": 3}, "models: 3 is neither a list nor"),
        ({"models": {"a": None}}, "models.a: None is no configuration file"),
        ({"models": ["a/X.yaml", "b/X.yaml"]}, "models: two files have one name"),
        ({"losses": ["ASL", "ASL"]}, "losses: 'ASL' stands there twice"),
        ({"losses": {"../up": None}}, "losses: '../up' is no label"),
        ({"losses": {"=cmd": None}}, "losses: '=cmd' is no label"),
        ({"losses": {"ASL": 3}}, "losses.ASL: 3 is no `parameter: value` section"),
        ({"baseline": "bce"}, "baseline: 'bce' is none of the losses: bce_loss, g1"),
        ({"seeds": [0, -1]}, "seeds: .0, -1. is no list of whole numbers"),
        ({"seeds": 3}, "seeds: 3 is no list of whole numbers"),
        ({"seeds": [True]}, "seeds: .True. is no list"),
        ({"seeds": [1, 1]}, "seeds: .1, 1. has one twice"),
        ({"overrides": {"RNG_SEED": 1}}, "overrides.RNG_SEED: is set by the sweep itself"),
        ({"overrides": ["A"]}, "overrides: .'A'. is no `KEY: value` section"),
        ({"weights": {"other": "a.pyth"}}, "weights.other: unknown key; known: demo"),
        ({"weights": 3}, "weights: 3 is neither a checkpoint nor"),
        ({"head": {"epoch": 3}}, "head.epoch: unknown key; known: epochs,"),
        ({"head": {"epochs": 0.5}}, "head.epochs: 0.5 is no whole number above 0"),
        ({"head": {"lr": 0}}, "head.lr: 0.0 would train nothing"),
        ({"head": {"lr": float("nan")}}, "head.lr: nan is no number of at least 0"),
        ({"head": {"lr": "fast"}}, "head.lr: 'fast' is no number of at least 0"),
        ({"head": {"__class__": 1}}, "head.__class__: unknown key"),
        ({"head": {"method": "lbfgs"}}, "head.method: 'lbfgs' is not one of sgd"),
    ],
)
def test_a_mistake_is_one_line(changes, message):
    with pytest.raises(UserError, match=f"^sweep.yaml: {message}") as caught:
        parse(**changes)
    assert "\n" not in str(caught.value)


def test_all_mistakes_are_told_together():
    with pytest.raises(UserError) as caught:
        parse(seeds=None, heads={}, baseline="x")
    assert len(str(caught.value).splitlines()) == 3


@pytest.mark.parametrize("path", sorted((REPO / "configs/AK/sweeps").glob("*.yaml")), ids=str)
def test_every_shipped_sweep_names_losses_and_configs_that_exist(path):
    from actionrec.engine.criterion import check_loss

    sweep = parse_sweep(yaml.safe_load(path.read_text()), path)
    assert f"python tools/sweep.py configs/AK/sweeps/{path.name}" in path.read_text()
    assert all((REPO / config).is_file() for config in sweep.models.values())
    for loss in sweep.losses.values():
        check_loss(loss)


def test_the_demo_of_all_losses_has_each_that_takes_several_labels():
    import losses

    path = REPO / "configs/AK/sweeps/demo_all_losses.yaml"
    named = {
        loss.name for loss in parse_sweep(yaml.safe_load(path.read_text()), path).losses.values()
    }
    others = {"bce", "bce_logit", "cross_entropy", "soft_cross_entropy"}  # SlowFast's own names
    assert named == set(losses.LOSSES) - others


def test_a_file_that_is_not_plain_yaml_is_refused(tmp_path, tree):
    from slowfast.ak.sweep import read_sweep

    path = tmp_path / "sweep.yaml"
    path.write_text("models: !!python/object/apply:os.system [echo]\n")
    with pytest.raises(SecurityError, match="not plain YAML"):
        read_sweep(path)
    path.write_text("#" * 1_000_001)
    with pytest.raises(UserError, match="at most 1 MB"):
        read_sweep(path)
    with pytest.raises(UserError, match="sweep file: no such file"):
        read_sweep(tmp_path / "absent.yaml")


def test_mistakes_in_configs_and_losses_are_told_before_the_first_run(tmp_path, tree, monkeypatch):
    from slowfast.ak.sweep import plan

    monkeypatch.chdir(tree)
    (tmp_path / "annot").mkdir()
    sweep = parse(
        models={"demo": "configs/AK/DEMO.yaml"},
        losses={"bce_los": None, "focal_loss": {"gama": 1}, "ASL": None, "bce": None},
        overrides={"SOLVER.MAXEPOCH": 3, "DATA.PATH_TO_DATA_DIR": tmp_path / "annot"},
    )
    with pytest.raises(UserError) as caught:
        plan(sweep, tmp_path, Path("run_net.py"))
    lines = str(caught.value).splitlines()
    assert [line.partition(" ")[0] for line in lines] == [
        "demo:",
        "demo/bce_los:",
        "demo/focal_loss:",
        "demo/bce:",
    ]
    for line, said in zip(
        lines,
        [
            "SOLVER.MAX_EPOCH",
            "unknown loss 'bce_los'",
            "no parameter 'gama'",
            "takes probabilities",
        ],
        strict=True,
    ):
        assert said in line

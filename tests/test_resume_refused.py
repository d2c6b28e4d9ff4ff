"""A checkpoint of another run is not resumed: what differs is said, and nothing is changed."""

from __future__ import annotations

import dataclasses

import pytest
from interrupted_runs import settings_of
from tiny_run import Tiny

from actionrec.engine import checkpoint
from actionrec.engine.run import run
from actionrec.errors import UserError

CONFIG = """
MODEL: {ARCH: slowfast, NUM_CLASSES: 3, LOSS_FUNC: bce_loss}
SOLVER: {OPTIMIZING_METHOD: sgd, BASE_LR: 0.1}
DATA: {NUM_FRAMES: 4}
DATA_LOADER: {NUM_WORKERS: 0}
LOSS: {PARAMS: {gamma: 2.0}}
"""


@pytest.fixture(scope="module")
def begun(clips, tmp_path_factory):
    folder = tmp_path_factory.mktemp("begun")
    settings = settings_of(clips, folder, "solver.max_epoch=1")
    run(dataclasses.replace(settings, config_yaml=CONFIG), Tiny)
    return settings


@pytest.mark.parametrize(
    ("old", "new", "difference"),
    [
        ("ARCH: slowfast", "ARCH: i3d", "MODEL.ARCH was 'slowfast' and is 'i3d'"),
        ("NUM_CLASSES: 3", "NUM_CLASSES: 140", "MODEL.NUM_CLASSES was 3 and is 140"),
        ("METHOD: sgd", "METHOD: adamw", "SOLVER.OPTIMIZING_METHOD was 'sgd' and is 'adamw'"),
        ("BASE_LR: 0.1", "BASE_LR: 0.2", "SOLVER.BASE_LR was 0.1 and is 0.2"),
        ("gamma: 2.0", "gamma: 3.0", "LOSS.PARAMS.gamma was 2.0 and is 3.0"),
    ],
    ids=["G7-arch", "G7-classes", "G7-optimizer", "D5-lr", "D5-loss"],
)
def test_a_run_with_another_setting_is_refused_with_the_difference(begun, old, new, difference):
    path = checkpoint.checkpoint_path(begun.output_dir, 1)
    before = path.stat().st_mtime_ns
    other = dataclasses.replace(begun, config_yaml=CONFIG.replace(old, new))
    with pytest.raises(UserError) as caught:
        run(other, Tiny)
    assert str(caught.value).startswith(f"{path} is from a run with other settings: {difference};")
    assert "\n" not in str(caught.value) and path.stat().st_mtime_ns == before


def test_D5_what_may_change_does_not_stop_a_resume(begun):
    workers = CONFIG.replace("NUM_WORKERS: 0", "NUM_WORKERS: 8")
    run(dataclasses.replace(begun, config_yaml=workers), Tiny)

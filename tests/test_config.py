"""The configuration border: a mistake is one line, all come together, before torch is imported."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("slowfast.config.defaults", reason="needs the prepared tree .trees/wheel")

from actionrec.errors import SecurityError, UserError  # noqa: E402
from slowfast.ak import base, documentation, paths, runner  # noqa: E402
from slowfast.ak.choices import check_choices  # noqa: E402
from slowfast.ak.config import merge  # noqa: E402
from slowfast.ak.settings import ACTED_ON, leaves, make_settings  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs" / "AK"


@pytest.fixture
def cfg(tmp_path):
    cfg = base.default_config()
    assert merge(cfg, CONFIGS / "SLOWFAST_8x8_R50.yaml", []) == []
    cfg.DATA.PATH_TO_DATA_DIR = str(tmp_path)
    return cfg


def write(folder: Path, text: str, name: str = "a.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def problems_of(tmp_path: Path, text: str, overrides: list[str] | None = None) -> list[str]:
    return merge(base.default_config(), write(tmp_path, text), overrides or [])


@pytest.mark.parametrize(
    "path",
    sorted(
        path
        for path in CONFIGS.rglob("*.yaml")
        if path.stem != "base" and path.parent.name != "sweeps"  # these name no model
    ),
    ids=lambda p: str(p.relative_to(CONFIGS).with_suffix("")),
)
def test_every_shipped_config_is_valid(path, tmp_path):
    cfg = base.default_config()
    assert merge(cfg, path, ["DATA.PATH_TO_DATA_DIR", str(tmp_path)]) == []
    if path == CONFIGS / "as_released" / "X3D_L.yaml":
        (problem,) = check_choices(cfg)
        assert "x3d_transform with MODEL.ARCH i3d needs the git base" in problem
    else:
        assert make_settings(cfg, []).data.num_frames == cfg.DATA.NUM_FRAMES


def test_a_loss_config_changes_only_the_loss_and_the_output_folder():
    for path in CONFIGS.glob("*_*_*_*.yaml"):
        cfg, model = base.default_config(), base.default_config()
        merge(cfg, path, [])
        merge(model, path.with_name(path.stem.rpartition("_")[0] + ".yaml"), [])
        mine, theirs = leaves(cfg), leaves(model)
        changed = {k for k in mine.keys() | theirs.keys() if mine.get(k) != theirs.get(k)}
        assert all(k.startswith(("MODEL.LOSS_FUNC", "LOSS.", "OUTPUT_DIR")) for k in changed), path


def test_slowfast_8x8_is_a_real_8x8(cfg):
    assert cfg.DATA.NUM_FRAMES // cfg.SLOWFAST.ALPHA == 8
    assert cfg.SLOWFAST.ALPHA * cfg.DATA.SAMPLING_RATE == 8


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("TRAIN: {BATCH: 8}", "TRAIN.BATCH: unknown key; the nearest are TRAIN.BATCH_SIZE"),
        ("TRIAN: {BATCH_SIZE: 8}", "TRIAN: unknown key"),
        ("TRAIN: {BATCH_SIZE: eight}", "TRAIN.BATCH_SIZE: 'eight' is text, it takes int"),
        ("TRAIN: {BATCH_SIZE: 1.5}", "TRAIN.BATCH_SIZE: 1.5 is float, it takes int"),
        ("TRAIN: {ENABLE: 1}", "TRAIN.ENABLE: 1 is int, it takes bool"),
        ("SOLVER: {BASE_LR: fast}", "SOLVER.BASE_LR: 'fast' is text, it takes float"),
        ("SOLVER: 3", "SOLVER: is a section"),
        ("DATA: {MEAN: 0.4}", "DATA.MEAN: 0.4 is float, it takes list of float"),
        ("DATA: {MEAN: [a, b, c]}", "DATA.MEAN: ['a', 'b', 'c'] is list, it takes list of float"),
        ("OUTPUT_DIR: [a]", "OUTPUT_DIR: ['a'] is list, it takes text"),
    ],
)
def test_a_wrong_key_or_type_is_one_line(tmp_path, text, line):
    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith(f"{tmp_path / 'a.yaml'}: {line}")


def test_numbers_and_texts_are_taken_as_upstream_takes_them(tmp_path):
    cfg = base.default_config()
    overrides = (
        "SOLVER.BASE_LR 1 OUTPUT_DIR 2024 SOLVER.WEIGHT_DECAY 1e-5 SOLVER.STEPS [0,2]".split()
    )
    overrides += "LOSS.PARAMS.gamma 2.0 LOSS.PARAMS.variant released TRAIN.ENABLE false".split()
    assert merge(cfg, write(tmp_path, "SOLVER: {WARMUP_EPOCHS: 4}"), overrides) == []
    assert isinstance(cfg.SOLVER.BASE_LR, float) and cfg.SOLVER.BASE_LR == 1.0
    assert cfg.SOLVER.WARMUP_EPOCHS == 4.0 and cfg.SOLVER.WEIGHT_DECAY == 1e-5
    assert cfg.OUTPUT_DIR == "2024" and cfg.SOLVER.STEPS == [0, 2] and cfg.TRAIN.ENABLE is False
    assert dict(cfg.LOSS.PARAMS) == {"gamma": 2.0, "variant": "released"}
    file = write(tmp_path, "LOSS: {PARAMS: {LDAM: {s: 20}}}")
    assert merge(cfg, file, ["LOSS.PARAMS.LDAM.s", "9"]) == []
    assert cfg.LOSS.PARAMS.LDAM.s == 9 and "s: 9" in cfg.dump()
    assert merge(cfg, write(tmp_path, ""), ["LOSS.PARAMS", "{'gamma': 3}"]) == []
    assert cfg.LOSS.PARAMS.gamma == 3
    assert merge(cfg, write(tmp_path, ""), ["LOSS.PARAMS.EQL", "{'gamma': 1}"]) == []
    assert cfg.LOSS.PARAMS.EQL.gamma == 1 and cfg.dump()


def test_all_mistakes_come_in_one_report(tmp_path):
    file = write(tmp_path, "TRAIN: {BATCH: 8}\nMODEL: {NUM_CLASSES: x}")
    with pytest.raises(UserError) as caught:
        runner.main(
            file,
            ["DATA.NOPE", "1", "SOLVER.BASE_LR", "-1", "TRAIN.DATASET", "charades"]
            + ["TEST.DATASET", "charades", "LONELY"],
        )
    report = str(caught.value)
    for name in ("TRAIN.BATCH", "MODEL.NUM_CLASSES", "DATA.NOPE", "LONELY", "SOLVER.BASE_LR"):
        assert report.count(f"{name}: ") == 1, name


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("a: &x [1]\nb: *x", SecurityError, "line 2: YAML aliases"),
        ("a: !!python/object/apply:os.system ['touch canary']", SecurityError, "not plain YAML"),
        ("_BASE_: ../../elsewhere.yaml", SecurityError, "leaves the folder"),
        ("_BASE_: a.yaml", UserError, "in a circle"),
        ("_BASE_: b.yaml", UserError, r"/a.yaml: _BASE_: no such file: .*/b.yaml"),
        ("_BASE_: [b.yaml]", UserError, "name of one file"),
        ("TRAIN: {A: 1}\nTRAIN: {B: 2}", UserError, "line 2: the key 'TRAIN' stands there twice"),
        ("? [a, b]\n: 1", UserError, "line 1: a key must be a word"),
        ("a: [1", UserError, "a.yaml:1: not YAML"),
        ("- 1", UserError, "`KEY: value` lines, this is a list"),
    ],
)
def test_a_file_that_must_not_be_read_is_refused(tmp_path, text, error, message, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        problems_of(tmp_path, text)
    assert not (tmp_path / "canary").exists()


def test_a_config_that_is_not_there_is_answered_with_the_nearest_names(tmp_path, monkeypatch):
    nearest = "no such file: {}; the nearest in {} are SLOWFAST_8x8_R50_LDAM.yaml, "
    wrong = CONFIGS / "SLOWFAST_8x8_R50_LDAMM.yaml"
    monkeypatch.chdir(tmp_path)
    for path, folder in ((wrong, CONFIGS), (Path(wrong.name), paths.TREE / "configs" / "AK")):
        with pytest.raises(UserError, match=f"^--cfg: {re.escape(nearest.format(path, folder))}"):
            merge(base.default_config(), path, [])


def test_a_config_asked_for_in_the_wrong_folder_is_answered_with_the_right_one(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as caught:
        merge(base.default_config(), Path("configs/AK/DEMO.yaml"), [])
    assert str(caught.value) == (
        "--cfg: no such file: configs/AK/DEMO.yaml; paths are relative to the current folder, "
        f"{tmp_path}; first: cd {paths.TREE}"
    )


def test_an_override_with_an_equals_sign_is_shown_as_it_is_written(tmp_path):
    cfg = base.default_config()
    overrides = ["MODEL.LOSS_FUNC=LDAM", "OUTPUT_DIR", "a=b", "NUM_GPUS="]
    assert merge(cfg, write(tmp_path, ""), overrides) == [
        "command line: MODEL.LOSS_FUNC=LDAM: write `MODEL.LOSS_FUNC LDAM`, with a space",
        "command line: NUM_GPUS=: write `NUM_GPUS VALUE`, with a space",
    ]
    assert cfg.OUTPUT_DIR == "a=b"


def test_a_huge_file_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(10_000_000)
    with pytest.raises(UserError, match="at most 1 MB"):
        merge(base.default_config(), tmp_path / "a.yaml", [])


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("SOLVER.BASE_LR", -0.1, "SOLVER.BASE_LR: -0.1 is too small"),
        ("SOLVER.MAX_EPOCH", 0, "SOLVER.MAX_EPOCH: 0 is too small"),
        ("TRAIN.BATCH_SIZE", -8, "TRAIN.BATCH_SIZE: -8 is too small"),
        ("TEST.NUM_ENSEMBLE_VIEWS", 0, "TEST.NUM_ENSEMBLE_VIEWS: 0 is too small"),
        ("NUM_GPUS", -1, "NUM_GPUS: -1 is too small"),
        ("NUM_GPUS", 3, "cannot be shared equally by 3 processes"),
        ("DATA.TRAIN_CROP_SIZE", 112, "is not a multiple of 32, which slowfast needs; 96 and 128"),
        ("DATA.ENSEMBLE_METHOD", "maxx", "'maxx' is not one of max, mean, sum"),
        ("DATA.MULTI_LABEL", False, "DATA.MULTI_LABEL: False"),
        ("DATA.PATH_TO_DATA_DIR", "nowhere", "no such folder: 'nowhere'"),
        ("TRAIN.CHECKPOINT_FILE_PATH", "no.pyth", "no such file: no.pyth"),
        ("DATA.DEV_SPLIT", "no.txt", "DATA.DEV_SPLIT: 'no.txt' is neither auto, none nor a file"),
        ("DATA.DEV_SPLIT", "", "DATA.DEV_SPLIT: '' is neither auto, none nor a file"),
        ("TRAIN.CHECKPOINT_TYPE", "caffe2", "python tools/convert_checkpoint.py FILE OUT.pyth"),
        ("MODEL.ARCH", "i3d", "'SlowFast' does not go with MODEL.ARCH 'i3d', 'ResNet' does"),
        ("RESNET.DEPTH", 42, "RESNET.DEPTH: 42 is not one of 50, 101"),
        ("RESNET.TRANS_FUNC", "foo", "'foo' is not one of bottleneck_transform"),
        ("RESNET.WIDTH_PER_GROUP", 0, "RESNET.WIDTH_PER_GROUP: 0 is too small"),
        ("RESNET.NUM_BLOCK_TEMP_KERNEL", [[3, 3]], "NUM_BLOCK_TEMP_KERNEL: [[3, 3]] is not one"),
        ("MODEL.DROPOUT_RATE", 1.5, "MODEL.DROPOUT_RATE: 1.5 is not from 0 to below 1"),
        ("SLOWFAST.BETA_INV", 0, "SLOWFAST.BETA_INV: 0 is too small"),
        ("DATA.TEST_CROP_SIZE", 64, "DATA.TEST_CROP_SIZE: 64 is too small"),
        ("TEST.SAVE_RESULTS_PATH", "a.csv", "end it in .pkl"),
        ("TEST.DATASET", "charades", "TEST.DATASET: 'charades' is not TRAIN.DATASET"),
        ("SOLVER.PLATEAU_PATIENCE", 0, "SOLVER.PLATEAU_PATIENCE: 0 is too small"),
        ("SOLVER.PLATEAU_MIN_LR", -1.0, "SOLVER.PLATEAU_MIN_LR: -1.0 is too small"),
        ("TRAIN.EARLY_STOP_PATIENCE", -1, "TRAIN.EARLY_STOP_PATIENCE: -1 is too small"),
        (
            "WANDB.PROJECT",
            "animals",
            "WANDB.PROJECT: 'animals' needs the package wandb, which this",
        ),
        ("SOLVER.STEPS", ["a", 3], "SOLVER.STEPS: ['a', 3] is not a list of numbers"),
        ("METRICS.SEGMENT_CUTS", [5, 10], "is not [h, t]"),
        ("MODEL.ARCH", "slowfsat", "unknown architecture 'slowfsat'"),
        ("SLOWFAST.ALPHA", 5, "is not a multiple of"),
        ("TEST.SAVE_RESULTS_PATH", "/a.pkl", "is no name for the pickle"),
        ("DATA.STD", [0.2, float("inf"), 0.2], "DATA.STD: inf is not a finite number"),
        ("DATA.INPUT_CHANNEL_NUM", [4, 4], "frames have 3 channels"),
        ("RESNET.SPATIAL_STRIDES", [[1, 1], [2, 1], [2, 2], [2, 2]], "strides of a stage are"),
        ("DETECTION.ENABLE", True, "DETECTION.ENABLE: True would have no effect"),
        ("SOLVER.GAMMA", 0.5, "SOLVER.GAMMA: 0.5 would have no effect"),
    ],
)
def test_a_value_that_cannot_be_used_is_one_line(cfg, key, value, line):
    node = cfg
    *sections, leaf = key.split(".")
    for section in sections:
        node = node[section]
    node[leaf] = value
    with pytest.raises(UserError) as caught:
        make_settings(cfg, [])
    assert sum(line in text for text in str(caught.value).splitlines()) == 1, caught.value


def test_all_contradictions_of_a_schedule_come_in_one_report(cfg):
    cfg.SOLVER.LR_POLICY, cfg.SOLVER.PLATEAU_FACTOR = "plateau", 1.0
    cfg.SOLVER.PLATEAU_MIN_LR, cfg.TRAIN.EARLY_STOP_PATIENCE = 9.0, -2
    with pytest.raises(UserError) as caught:
        make_settings(cfg, [])
    assert [line.partition(":")[0] for line in str(caught.value).splitlines()] == [
        "TRAIN.EARLY_STOP_PATIENCE",
        "SOLVER.PLATEAU_FACTOR",
        "SOLVER.PLATEAU_MIN_LR",
    ]


def test_a_launcher_that_started_other_than_NUM_GPUS_is_told(cfg, monkeypatch):  # noqa: N802
    for name, value in {"RANK": 0, "WORLD_SIZE": 1, "MASTER_ADDR": "localhost"}.items():
        monkeypatch.setenv(name, str(value))
    make_settings(cfg, [])
    cfg.NUM_GPUS = 4
    with pytest.raises(UserError, match="NUM_GPUS: 4, but by RANK.* one of 1 processes here"):
        make_settings(cfg, [])


@pytest.mark.parametrize("key", ["HEAD_ONLY", "NEW_HEAD"])
def test_a_second_stage_needs_a_first(cfg, key):
    cfg.TRAIN[key] = True
    with pytest.raises(UserError, match=f"TRAIN.{key}: True, but TRAIN.CHECKPOINT_FILE_PATH"):
        make_settings(cfg, [])


def test_smallest_values_are_usable(cfg):
    cfg.NUM_GPUS, cfg.TEST.NUM_ENSEMBLE_VIEWS, cfg.TEST.NUM_SPATIAL_CROPS = 0, 1, 1
    settings = make_settings(cfg, [])
    assert (settings.device, settings.data.num_views, settings.data.num_crops) == ("cpu", 1, 1)


def test_environment_variables_and_commands_in_values_stay_text(cfg, tmp_path):
    merge(cfg, write(tmp_path, "OUTPUT_DIR: $HOME/$(touch x)"), [])
    assert str(make_settings(cfg, []).output_dir) == "$HOME/$(touch x)"
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("engine", "train", "test", "kind", "answer"),
    [
        ("auto", "animalkingdom", "animalkingdom", "wheel", "ours"),
        ("auto", "Charades", "charades", "git", "ours"),
        ("auto", "kinetics", "kinetics", "git", "upstream"),
        ("auto", "kinetics", "kinetics", "wheel", "needs upstream's own tools"),
        ("auto", "kinetics", "charades", "git", "two different engines"),
        ("auto", "kinetics", None, "git", "upstream"),
        ("auto", None, "charades", "git", "ours"),
        ("upstream", "charades", "charades", "git", "upstream"),
        ("upstream", "charades", "charades", "wheel", "needs upstream's own tools"),
        ("ours", "kinetics", "kinetics", "git", "ENGINE ours reads"),
    ],
)
def test_one_function_chooses_the_engine(cfg, engine, train, test, kind, answer):
    cfg.ENGINE, cfg.TRAIN.ENABLE, cfg.TEST.ENABLE = engine, train is not None, test is not None
    cfg.TRAIN.DATASET, cfg.TEST.DATASET = train or "other", test or "other"
    if answer in ("ours", "upstream"):
        assert runner.choose_engine(cfg, kind) == answer
    else:
        with pytest.raises(UserError, match=answer):
            runner.choose_engine(cfg, kind)


def test_every_key_of_the_tables_is_acted_on():
    cfg = base.default_config()
    known = leaves(cfg)
    for pattern in ACTED_ON:
        section = pattern.rstrip("*").rstrip(".")
        assert any(name == section or name.startswith(section) for name in known), pattern


def test_a_config_mistake_never_imports_torch(tree):
    code = (
        "import sys, runpy\n"
        "config = 'configs/AK/SLOWFAST_8x8_R50.yaml'\n"
        "sys.argv = ['tools/run_net.py', '--cfg', config, 'TRAIN.NO', '1']\n"
        "try:\n    runpy.run_path('tools/run_net.py', run_name='__main__')\n"
        "except SystemExit as stop:\n"
        "    print(stop.code, 'torch' in sys.modules, 'cv2' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tree, capture_output=True, text=True, check=False
    )
    assert done.stdout.split() == ["2", "False", "False"], done.stderr
    assert "TRAIN.NO: unknown key" in done.stderr and "Traceback" not in done.stderr


def test_the_page_of_keys_is_current():
    assert (ROOT / "docs" / "configs.md").read_text() == documentation.page(), (
        "renew it: python -m slowfast.ak.documentation > ../docs/configs.md"
    )

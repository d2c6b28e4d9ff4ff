"""SlowFast's repository as the base: all of it imports, both engines run, and nothing differs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from actionrec.engine.checkpoint import load_checkpoint

TINY = (
    "DATA.TRAIN_JITTER_SCALES [64,80] DATA.TRAIN_CROP_SIZE 64 DATA.TEST_CROP_SIZE 64 "
    "DATA.NUM_FRAMES 8 DATA.SAMPLING_RATE 2 RESNET.WIDTH_PER_GROUP 8 TRAIN.BATCH_SIZE 4 "
    "TEST.BATCH_SIZE 4 NUM_GPUS 0 DATA_LOADER.NUM_WORKERS 0 SOLVER.MAX_EPOCH 1 "
    "SOLVER.WARMUP_EPOCHS 0 TEST.NUM_ENSEMBLE_VIEWS 2 TEST.NUM_SPATIAL_CROPS 1 LOG_PERIOD 1 "
    "BN.NUM_BATCHES_PRECISE 2"
).split()
MODELS = {
    "slowfast": "MODEL.ARCH slowfast SLOWFAST.BETA_INV 4",
    "i3d": "MODEL.ARCH i3d MODEL.MODEL_NAME ResNet DATA.INPUT_CHANNEL_NUM [3] "
    "RESNET.NUM_BLOCK_TEMP_KERNEL [[3],[4],[6],[3]] RESNET.SPATIAL_STRIDES [[1],[2],[2],[2]] "
    "RESNET.SPATIAL_DILATIONS [[1],[1],[1],[1]] NONLOCAL.LOCATION [[[]],[[]],[[]],[[]]] "
    "NONLOCAL.GROUP [[1],[1],[1],[1]]",
    "x3d": "MODEL.ARCH x3d MODEL.MODEL_NAME X3D DATA.INPUT_CHANNEL_NUM [3] "
    "RESNET.TRANS_FUNC x3d_transform RESNET.SPATIAL_DILATIONS [[1],[1],[1],[1]] "
    "NONLOCAL.LOCATION [[[]],[[]],[[]],[[]]] NONLOCAL.GROUP [[1],[1],[1],[1]] X3D.DIM_C5 64 "
    "X3D.BOTTLENECK_FACTOR 2.25",
}


@pytest.fixture(scope="module")
def demo(tree, tmp_path_factory):
    """Eight training and eight test clips, and a list of the videos as Kinetics has them."""
    from actionrec.data.demo import make_demo

    folder = tmp_path_factory.mktemp("git") / "demo"
    make_demo(folder, clips_per_split=8)
    (folder / "kinetics").mkdir()
    videos = sorted((folder / "video").glob("*.mp4"))[:8]
    for split in ("train", "val", "test"):
        lines = [f"{path} {number % 6}\n" for number, path in enumerate(videos)]
        (folder / "kinetics" / f"{split}.csv").write_text("".join(lines))
    return folder


def of_demo(folder):
    pairs = [("PATH_TO_DATA_DIR", "annot"), ("PATH_PREFIX", "image"), ("VIDEO_PREFIX", "video")]
    return [text for key, name in pairs for text in (f"DATA.{key}", str(folder / name))]


def stats(output_dir):
    lines = (output_dir / "stdout.log").read_text().splitlines()
    return [json.loads(x.split("json_stats: ")[1]) for x in lines if "json_stats" in x]


def in_tree(tree: Path, code: str, **env: str) -> str:
    """What `code` prints in a process of its own in the tree."""
    done = subprocess.run(
        [sys.executable, "-B", "-W", "ignore", "-c", "import sys; sys.path[0] = '.'\n" + code],
        env={**os.environ, "PYTHONPATH": "", **env},
        cwd=tree,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_all_84_modules_import(git_base):
    code = """
import importlib, subprocess
sys.path.insert(1, "tools")
listed = subprocess.run(["git", "ls-tree", "-r", "--name-only", "HEAD", "slowfast", "tools"],
                        capture_output=True, text=True, check=True).stdout.split()
names = [name.removesuffix(".py") for name in listed if name.endswith(".py")]
for name in names:
    name = name.removesuffix("/__init__").replace("/", ".").removeprefix("tools.")
    importlib.import_module(name)
print(len(names), "pytorchvideo" in sys.modules)
"""
    assert in_tree(git_base, code).split()[0] == "84"


@pytest.mark.parametrize(
    ("arch", "num_keys", "num_parameters"),
    [("slowfast", 662, 33_967_188), ("i3d", 320, 27_510_732), ("x3d", 1146, 5_620_692)],
)
def test_sizes_on_both_bases(arch, num_keys, num_parameters, tree, git_base):
    config = {"slowfast": "SLOWFAST_8x8_R50", "i3d": "I3D_8x8_R50", "x3d": "X3D_L"}[arch]
    code = f"""
import pathlib
from slowfast.ak import base
from slowfast.ak.config import merge
cfg = base.default_config()
assert merge(cfg, pathlib.Path("configs/AK/{config}.yaml"), []) == []
model = base.build_model(cfg)
print(len(model.state_dict()), sum(p.numel() for p in model.parameters()))
print([(name, tuple(t.shape), str(t.dtype)) for name, t in model.state_dict().items()])
"""
    wheel, git = in_tree(tree, code), in_tree(git_base, code)
    assert wheel.splitlines()[0] == f"{num_keys} {num_parameters}"
    assert git == wheel


def test_both_bases_have_the_same_defaults_for_what_our_engine_acts_on(tree, git_base):
    code = """
from fnmatch import fnmatchcase as fits
from slowfast.ak import base
from slowfast.ak.settings import ACTED_ON, NOT_ACTED_ON, leaves
for name, value in sorted(leaves(base.default_config()).items()):
    if any(fits(name, p) for p in ACTED_ON) and not any(fits(name, p) for p in NOT_ACTED_ON):
        print(name, repr(value))
"""
    assert in_tree(git_base, code) == in_tree(tree, code) != ""


@pytest.mark.parametrize("arch", MODELS)
def test_fifty_steps_from_one_checkpoint_are_equal_on_both_bases(
    arch, tree, git_base, run_net, demo, tmp_path
):
    common = ["--cfg", "configs/AK/DEMO.yaml", *of_demo(demo), *TINY, *MODELS[arch].split()]
    common += ["TRAIN.BATCH_SIZE", "2", "TRAIN.EVAL_PERIOD", "100", "TRAIN.CHECKPOINT_PERIOD", "1"]
    common += ["BN.USE_PRECISE_STATS", "False", "TEST.ENABLE", "False"]
    start = tmp_path / "start"  # one epoch on the package
    done = run_net(tree, *common, "OUTPUT_DIR", start, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    first = start / "checkpoints" / "checkpoint_epoch_00001.pyth"
    common += ["SOLVER.MAX_EPOCH", "13", "TRAIN.CHECKPOINT_FILE_PATH", str(first)]
    losses, weights = {}, {}
    for base in (tree, git_base):
        out = tmp_path / base.name
        done = run_net(base, *common, "OUTPUT_DIR", out, OMP_NUM_THREADS="1")
        assert done.returncode == 0, done.stderr
        losses[base] = [s["loss"] for s in stats(out) if s["_type"] == "train_iter"]
        weights[base] = load_checkpoint(out / "checkpoints/checkpoint_epoch_00013.pyth")
    assert len(losses[tree]) == 52
    assert losses[tree] == losses[git_base]
    ours, theirs = (weights[base]["model_state"] for base in (tree, git_base))
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (weights[tree]["base"], weights[git_base]["base"]) == ("wheel", "git")


def test_a_run_that_was_begun_on_one_base_goes_on_on_the_other(
    tree, git_base, run_net, demo, tmp_path
):
    common = ["--cfg", "configs/AK/DEMO.yaml", *of_demo(demo), *TINY, "SOLVER.MAX_EPOCH", "3"]
    common += ["TRAIN.CHECKPOINT_PERIOD", "1"]
    whole, moved = tmp_path / "whole", tmp_path / "moved"
    done = run_net(git_base, *common, "OUTPUT_DIR", whole, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    (moved / "checkpoints").mkdir(parents=True)
    first = "checkpoints/checkpoint_epoch_00001.pyth"
    (moved / first).write_bytes((whole / first).read_bytes())
    done = run_net(tree, *common, "OUTPUT_DIR", moved, OMP_NUM_THREADS="1")
    assert done.returncode == 0 and "resumed from" in done.stdout, done.stderr
    last = "checkpoints/checkpoint_epoch_00003.pyth"
    expected, found = (load_checkpoint(d / last)["model_state"] for d in (whole, moved))
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_kinetics_runs_through_upstreams_own_tools(git_base, run_net, demo, tmp_path):
    done = run_net(
        git_base, "--cfg", "configs/Kinetics/SLOWFAST_8x8_R50.yaml", "--opts", *TINY,
        "MODEL.NUM_CLASSES", "6", "DATA.PATH_TO_DATA_DIR", demo / "kinetics",
        "TRAIN.ENABLE", "True", "TRAIN.CHECKPOINT_FILE_PATH", "", "TEST.CHECKPOINT_FILE_PATH", "",
        "DATA.DECODING_BACKEND", "torchvision", "OUTPUT_DIR", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "SlowFast's own loop runs this" in done.stdout and "pyav does" in done.stdout
    assert stats(tmp_path / "out")[-1]["split"] == "test_final"
    assert (tmp_path / "out/checkpoints/checkpoint_epoch_00001.pyth").is_file()


def test_upstreams_charades_loop_trains_with_our_losses(git_base, run_net, demo, tmp_path):
    out = tmp_path / "out"
    done = run_net(
        git_base, "--cfg", "configs/AK/DEMO.yaml", *of_demo(demo), *TINY, "ENGINE", "upstream",
        "MODEL.LOSS_FUNC", "LDAM", "LOSS.PARAMS.LDAM.drw_epoch", "1", "SOLVER.MAX_EPOCH", "2",
        "SOLVER.BASE_LR", "1e-9", "TENSORBOARD.ENABLE", "True", "OUTPUT_DIR", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = stats(out)
    assert "map" in found[-1] and found[-1]["split"] == "test_final"
    losses = [s["loss"] for s in found if s.get("_type") == "train_iter"]
    # Nothing is learnt at this rate: the loss falls because classes are reweighted from epoch 1 on.
    assert len(losses) == 4 and sum(losses[2:]) < 0.9 * sum(losses[:2])
    assert list(out.glob("runs-charades/*"))


def test_our_engine_on_the_git_base_needs_no_torchvision(git_base, run_net, demo, tmp_path):
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked/torchvision.py").write_text("raise ImportError('no torchvision here')")
    env = {"PYTHONPATH": str(tmp_path / "blocked")}
    common = ["--cfg", "configs/AK/DEMO.yaml", *of_demo(demo), *TINY]
    done = run_net(git_base, *common, "OUTPUT_DIR", tmp_path / "out", **env)
    assert done.returncode == 0, done.stderr
    done = run_net(git_base, *common, "ENGINE", "upstream", "OUTPUT_DIR", tmp_path / "b", **env)
    assert done.returncode == 2
    assert "no torchvision here" in done.stderr and len(done.stderr.splitlines()) == 1


MISTAKES = {
    "MODEL.LOSS_FUNC focal": "unknown loss 'focal'",
    "MODEL.LOSS_FUNC LDAM LOSS.PARAMS.margin 1": "LDAM has no parameter 'margin'",
    "NUM_GPUS 3": "NUM_GPUS: 3, but torch sees",
    "NUM_GPUS -1": "NUM_GPUS: -1, but torch sees",
    "DATA.PATH_PREFIX nowhere": "DATA.PATH_PREFIX: no such file: nowhere/",
    "DATA.PATH_TO_DATA_DIR nowhere": "nowhere/train.csv",
    "MODEL.NUM_CLASSES 5": "outside 0..4",
    "MODEL.NUM_CLASSES 5 TRAIN.ENABLE False": "outside 0..4",
    "TEST.DATASET kinetics": "need two different engines",
    "TEST.CHECKPOINT_FILE_PATH a.pyth": "TEST.CHECKPOINT_FILE_PATH: no such file: a.pyth",
    "SOLVER.BASE_LT 1": "SOLVER.BASE_LT: unknown key",
    # Whatever is enabled: a test falls back on the weights of the training.
    "TRAIN.CHECKPOINT_FILE_PATH {evil} TRAIN.CHECKPOINT_TYPE caffe2": "is a pickle, which could",
    "TRAIN.ENABLE False TRAIN.CHECKPOINT_FILE_PATH {evil} TRAIN.CHECKPOINT_TYPE caffe2": "convert",
    "TEST.CHECKPOINT_FILE_PATH {evil} TEST.CHECKPOINT_TYPE caffe2 TRAIN.ENABLE False "
    "TEST.ENABLE False TENSORBOARD.ENABLE True TENSORBOARD.MODEL_VIS.ENABLE True": "is a pickle",
    "TRAIN.ENABLE False TEST.ENABLE False TENSORBOARD.ENABLE True "
    "TENSORBOARD.WRONG_PRED_VIS.ENABLE True TENSORBOARD.PREDICTIONS_PATH {evil}": "is a pickle",
    "TRAIN.ENABLE False TEST.ENABLE False TENSORBOARD.ENABLE True "
    "TENSORBOARD.MODEL_VIS.ENABLE True TENSORBOARD.PREDICTIONS_PATH {evil}": "is a pickle",
}


@pytest.fixture(scope="module")
def answers(git_base, demo, tmp_path_factory):
    """What each of MISTAKES is answered with, all in one process; and the folder of a canary."""
    folder = tmp_path_factory.mktemp("mistakes")
    evil = folder / "evil.pkl"
    evil.write_bytes(b"cos\nsystem\n(S'touch %s'\ntR." % str(folder / "PWNED").encode())
    common = [*of_demo(demo), *TINY, "ENGINE", "upstream", "OUTPUT_DIR", str(folder / "out")]
    runs = [[*common, *changes.format(evil=evil).split()] for changes in MISTAKES]
    code = f"""
import json, pathlib
from actionrec.errors import UserError
from slowfast.ak import runner
answers = []
for overrides in json.loads({json.dumps(runs)!r}):
    try:
        runner.main(pathlib.Path("configs/AK/DEMO.yaml"), overrides)
        answers.append("started")
    except UserError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""
    lines = in_tree(git_base, code).splitlines()
    return dict(zip(MISTAKES, json.loads(lines[-1]), strict=True)), folder


@pytest.mark.parametrize("changes", MISTAKES)
def test_a_mistake_before_upstreams_loop_is_one_line(changes, answers):
    (answer,) = answers[0][changes].splitlines()
    assert MISTAKES[changes] in answer
    assert not (answers[1] / "PWNED").exists()


@pytest.mark.parametrize("name", ["I3D_8x8_R50", "SLOWFAST_8x8_R50", "X3D_L"])
def test_the_released_configurations_run(name, git_base, run_net, demo, tmp_path):
    out = tmp_path / "out"
    done = run_net(
        git_base, "--cfg", f"configs/AK/as_released/{name}.yaml", *of_demo(demo),
        "MODEL.NUM_CLASSES", "12", "DATA.TRAIN_CROP_SIZE", "64", "DATA.TEST_CROP_SIZE", "64",
        "DATA.TRAIN_JITTER_SCALES", "[64, 80]", "RESNET.WIDTH_PER_GROUP", "8", "NUM_GPUS", "0",
        "SOLVER.MAX_EPOCH", "1", "TEST.NUM_ENSEMBLE_VIEWS", "2", "TRAIN.BATCH_SIZE", "4",
        "DATA_LOADER.NUM_WORKERS", "0", "BN.NUM_BATCHES_PRECISE", "2", "OUTPUT_DIR", out,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert stats(out)[-1]["split"] == "test_final"
    assert (out / "results/i3d").is_file() and (out / "results/i3d.csv").is_file()


def test_upstreams_loop_does_not_go_on_from_another_run(git_base, run_net, demo, tmp_path):
    common = ["--cfg", "configs/AK/DEMO.yaml", *of_demo(demo), *TINY, "ENGINE", "upstream"]
    common += ["OUTPUT_DIR", tmp_path / "out", "TEST.ENABLE", "False"]
    done = run_net(git_base, *common, "MODEL.LOSS_FUNC", "EQL", "LOSS.PARAMS.variant", "released")
    assert done.returncode == 0, done.stderr
    done = run_net(git_base, *common, "MODEL.LOSS_FUNC", "focal_loss")
    assert done.returncode == 2 and "MODEL.LOSS_FUNC was 'EQL' and is 'focal_loss'" in done.stderr
    done = run_net(git_base, *common, "MODEL.LOSS_FUNC", "EQL", "LOSS.PARAMS.variant", "released")
    assert done.returncode == 0, done.stderr


def test_every_configuration_of_slowfast_is_read(git_base):
    code = """
import pathlib
from slowfast.ak import base
from slowfast.ak.config import merge
from slowfast.ak.runner import choose_engine
files = [f for f in pathlib.Path(".").glob("**/*.yaml") if "AK" not in f.parts]
for file in files:
    cfg = base.default_config()
    problems = merge(cfg, file, ["TRAIN.ENABLE", "True"])
    assert problems == [], (file, problems)
    if file.parts[1] != "Charades":
        assert choose_engine(cfg, "git") == "upstream", file
print(len(files))
"""
    assert int(in_tree(git_base, code)) > 50


def test_a_loss_that_needs_counts_says_so_where_there_are_none(git_base, run_net, demo, tmp_path):
    done = run_net(
        git_base, "--cfg", "configs/Kinetics/SLOWFAST_8x8_R50.yaml", *TINY,
        "DATA.PATH_TO_DATA_DIR", demo / "kinetics", "MODEL.LOSS_FUNC", "LDAM",
        "OUTPUT_DIR", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 2 and re.search("MODEL.LOSS_FUNC: LDAM.*class_counts", done.stderr)
    workbook = ["LOSS.CLASS_COUNTS", demo / "annot" / "df_action.xlsx", "MODEL.NUM_CLASSES", "12"]
    done = run_net(
        git_base, "--cfg", "configs/Kinetics/SLOWFAST_8x8_R50.yaml", *TINY,
        "DATA.PATH_TO_DATA_DIR", demo / "kinetics", "MODEL.LOSS_FUNC", "LDAM", *workbook,
        "NUM_GPUS", "9", "OUTPUT_DIR", tmp_path / "out",
    )  # fmt: skip
    assert "MODEL.LOSS_FUNC" not in done.stderr and "NUM_GPUS: 9" in done.stderr


def test_a_process_that_upstream_spawns_finds_the_loss_of_the_run(git_base):
    code = """
import os
from losses import set_run_counts
from slowfast.models.losses import LOSS_OF_RUN, run_as_text
set_run_counts([5, 9], 10, params={"LDAM": {"s": 2.0}})
print(LOSS_OF_RUN, run_as_text())
"""
    name, text = in_tree(git_base, code).strip().split(" ", 1)
    child = """
from slowfast.models.losses import get_loss_func
loss = get_loss_func("LDAM")(reduction="mean").loss
print(loss.s, loss.margins.numel())
"""
    assert in_tree(git_base, child, **{name: text}).split() == ["2.0", "2"]

"""The command that users type, in a prepared tree: losses swapped, real labels, mistakes."""

from __future__ import annotations

import csv
import json
import shlex
import subprocess
import sys

import cv2
import numpy as np
import pytest

# A run of seconds: two steps of a narrow SlowFast on a few clips.
QUICK = (
    "SOLVER.MAX_EPOCH 1 SOLVER.WARMUP_EPOCHS 0 TRAIN.BATCH_SIZE 4 RESNET.WIDTH_PER_GROUP 8 "
    "BN.USE_PRECISE_STATS False TEST.NUM_ENSEMBLE_VIEWS 2 TEST.NUM_SPATIAL_CROPS 1 LOG_PERIOD 1 "
    "DATA_LOADER.NUM_WORKERS 0"
).split()


@pytest.fixture(scope="module")
def demo(tree, tmp_path_factory):
    """Eight training and eight test clips of the sample data, as overrides of the configuration."""
    from actionrec.data.demo import make_demo

    folder = tmp_path_factory.mktemp("demo") / "demo"
    make_demo(folder, clips_per_split=8)
    pairs = [("PATH_TO_DATA_DIR", "annot"), ("PATH_PREFIX", "image"), ("VIDEO_PREFIX", "video")]
    return [text for key, name in pairs for text in (f"DATA.{key}", str(folder / name))]


def last_stats(output_dir):
    log = (output_dir / "stdout.log").read_text()
    return [json.loads(x.split("json_stats: ")[1]) for x in log.splitlines() if "json_stats" in x][
        -1
    ]


@pytest.mark.parametrize(
    ("loss", "style"),
    [("bce_loss", []), ("focal_loss", ["--opts"]), ("LDAM", []), ("EQL", ["--opts"])],
)
def test_the_loss_is_swapped_from_the_command_line(tree, run_net, demo, tmp_path, loss, style):
    done = run_net(
        tree, "--cfg", "configs/AK/DEMO.yaml", *style, *demo, *QUICK,
        "MODEL.LOSS_FUNC", loss, "OUTPUT_DIR", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert last_stats(tmp_path / "out")["split"] == "test_final"
    for word in ("overall", "random", "class prior", "stdout.log", "checkpoint_epoch_00001.pyth"):
        assert word in done.stdout
    assert (tmp_path / "out" / "results.csv").is_file()


def test_parameters_of_the_loss_come_from_the_command_line(tree, run_net, demo, tmp_path):
    arguments = ["--cfg", "configs/AK/DEMO.yaml", *demo, *QUICK, "MODEL.LOSS_FUNC", "focal_loss"]
    arguments += ["TEST.ENABLE", "False"]
    loss = {}
    for gamma in ("0.0", "5.0"):
        out = tmp_path / gamma
        done = run_net(tree, *arguments, "LOSS.PARAMS.gamma", gamma, "OUTPUT_DIR", out)
        assert done.returncode == 0, done.stderr
        line = next(x for x in (out / "stdout.log").read_text().splitlines() if "train_iter" in x)
        loss[gamma] = json.loads(line.split("json_stats: ")[1])["loss"]
    assert loss["5.0"] < loss["0.0"] / 5  # (1 - p_t)^5 of about 1/2, at the first step


def test_mp4_alone_is_enough_and_i3d_runs(tree, run_net, demo, tmp_path):
    done = run_net(
        tree, "--cfg", "configs/AK/I3D_8x8_R50.yaml", *demo, *QUICK, "DATA.SOURCE", "video",
        "MODEL.NUM_CLASSES", "12", "DATA.TRAIN_CROP_SIZE", "64", "DATA.TEST_CROP_SIZE", "64",
        "DATA.TRAIN_JITTER_SCALES", "[64, 80]", "NUM_GPUS", "0", "OUTPUT_DIR", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "mAP %" in done.stdout


def test_the_command_for_own_clips_on_a_laptop_runs_as_written(tree, run_net, demo, tmp_path, repo):
    text = (repo / "docs/datasets.md").read_text().partition("## Your own clips")[2]
    shown = text.partition("```bash\n")[2].partition("```")[0]
    command = shlex.split(shown.replace("\\\n", ""))
    assert command[:2] == ["python", "tools/run_net.py"]
    for key, folder in zip(demo[::2], demo[1::2], strict=True):
        command[command.index(key) + 1] = folder
    done = run_net(tree, *command[2:], *QUICK, "OUTPUT_DIR", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "head > 20, tail <= 6" in done.stdout


def test_real_ids_and_labels_train_and_test_140_classes(tree, run_net, shared_data, tmp_path):
    """64 clips of the official workbook, pixels made up, through make_annotations and run_net."""
    subprocess.run(
        [sys.executable, "tools/make_annotations.py",
         "--metadata", shared_data / "AR_metadata.xlsx",
         "--class-table", shared_data / "df_action.xlsx", "--frames-per-clip", "12",
         "--out", tmp_path / "all"],
        cwd=tree, check=True, capture_output=True,
    )  # fmt: skip
    annot = tmp_path / "annot"
    annot.mkdir()
    kept = {}
    for split, num_clips in (("train", 40), ("val", 24)):
        with (tmp_path / "all" / f"{split}.csv").open() as file:
            head, *rows = file.read().splitlines()
        # Clips all over the split, not its first ones alone.
        clips = list(dict.fromkeys(row.split()[0] for row in rows))[:: 24_004 // 40 // 4]
        kept[split] = set(clips[:num_clips])
        chosen = [row for row in rows if row.split()[0] in kept[split]]
        (annot / f"{split}.csv").write_text("\n".join([head, *chosen]) + "\n")
    (annot / "df_action.xlsx").write_bytes((tmp_path / "all" / "df_action.xlsx").read_bytes())
    rng = np.random.default_rng(0)
    for clip in sorted(kept["train"] | kept["val"]):
        (tmp_path / "image" / clip).mkdir(parents=True)
        frame = rng.integers(0, 255, (36, 64, 3), dtype=np.uint8)
        for number in range(1, 13):
            path = tmp_path / "image" / clip / f"{clip}_t{number:06d}.jpg"
            cv2.imwrite(str(path), np.roll(frame, number, axis=1))
    done = run_net(
        tree, "--cfg", "configs/AK/SLOWFAST_8x8_R50.yaml", *QUICK,
        "DATA.PATH_TO_DATA_DIR", annot, "DATA.PATH_PREFIX", tmp_path / "image",
        "DATA.NUM_FRAMES", "8", "DATA.SAMPLING_RATE", "1", "DATA.TRAIN_CROP_SIZE", "32",
        "DATA.TRAIN_JITTER_SCALES", "[32, 40]", "DATA.TEST_CROP_SIZE", "32", "NUM_GPUS", "0",
        "MODEL.LOSS_FUNC", "LDAM", "OUTPUT_DIR", tmp_path / "out",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "of 140 classes" in done.stdout
    with (tmp_path / "out" / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["clip_id"] for row in rows} == kept["val"]
    assert len(rows[0]) == 142 and "Yawning" in rows[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--cfg", "configs/AK/NOPE.yaml"], "no such file: configs/AK/NOPE.yaml"),
        (["MODEL.ARCH", "x3d"], "'SlowFast' does not go with MODEL.ARCH 'x3d', 'X3D' does"),
        (["MODEL.LOSS_FUNC", "ldam"], "unknown loss 'ldam'; known: LDAM"),
        (["MODEL.LOSS_FUNC", "bce"], "bce takes probabilities"),
        (["MODEL.LOSS_FUNC", "LDAM", "LOSS.PARAMS.gamma", "2"], "LDAM has no parameter 'gamma'"),
        (["NUM_GPUS", "1"], "torch sees no GPU"),
        (["TRAIN.DATASET", "kinetics", "TEST.DATASET", "kinetics"], "needs upstream's own tools"),
        (["DATA.PATH_PREFIX", "/nowhere", "DATA.SOURCE", "frames"], "8 of 8 clips"),
        (["MODEL.NUM_CLASSES", "5"], "outside 0..4"),
        (["OUTPUT_DIR", "/dev/null"], "OUTPUT_DIR: /dev/null"),
    ],
)
def test_a_mistake_is_one_line(tree, run_net, demo, tmp_path, arguments, message):
    import torch

    if "NUM_GPUS" in arguments and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    common = ["--cfg", "configs/AK/DEMO.yaml", *demo, *QUICK, "OUTPUT_DIR", str(tmp_path / "out")]
    done = run_net(tree, *([] if "--cfg" in arguments else common), *arguments)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if "error" in line]
    assert any(message in line for line in lines), done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_a_copy_of_the_tool_outside_a_tree_says_where_to_run_it(repo):
    done = subprocess.run(
        [sys.executable, "code_new/tools/run_net.py", "--cfg", "x.yaml"],
        cwd=repo, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "is no prepared SlowFast tree" in done.stderr


SEED_USAGE = """
import torch
from slowfast.models.losses import get_loss_func
from actionrec.metrics import get_map
import losses
losses.set_run_counts([500, 50, 5], 600)
preds, labels = torch.randn(4, 3), torch.tensor([[1., 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 1]])
for name in ("bce_loss", "focal_loss", "LDAM", "EQL", "bce_logit", "soft_cross_entropy"):
    for cur_epoch in (0, 200):
        loss_fun = get_loss_func(name)()
        if hasattr(loss_fun, "reset_epoch"):
            loss_fun.reset_epoch(cur_epoch)
        loss = loss_fun(preds, labels)
        assert torch.isfinite(loss), name
assert 0 < get_map(preds.numpy(), labels.numpy()) <= 1
losses.set_run_counts(None)
try:
    get_loss_func("LDAM")()
except ValueError as error:
    print(error)
"""


def test_the_usage_that_animal_kingdom_prints_runs_as_written(tree):
    done = subprocess.run(
        [sys.executable, "-c", SEED_USAGE], cwd=tree, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "LOSS.CLASS_COUNTS" in done.stdout and "class_counts=" in done.stdout

"""Payloads in every kind of file, through the command that users type: none is executed."""

from __future__ import annotations

import os
import pickle
import shutil

import openpyxl
import pytest
import torch

# A run of the sample data that would take a minute if a payload did not end it at once.
SMALL = "RESNET.WIDTH_PER_GROUP 8 DATA_LOADER.NUM_WORKERS 0 TRAIN.BATCH_SIZE 4".split()
CODES = ("__import__('os').mkdir('{}')", "$(mkdir {})", "`mkdir {}`", "=cmd|'mkdir {}'!A1")


class Payload:
    def __init__(self, canary):
        self.canary = str(canary)

    def __reduce__(self):
        return os.mkdir, (self.canary,)


@pytest.fixture(scope="module")
def demo(tree, tmp_path_factory):
    from actionrec.data.demo import make_demo

    folder = tmp_path_factory.mktemp("demo") / "demo"
    make_demo(folder, clips_per_split=4)
    return folder


@pytest.fixture
def command(tree, run_net, demo, tmp_path):
    """command(*more) -> what run_net answers; the annotations are a copy in tmp_path/annot."""
    shutil.copytree(demo / "annot", tmp_path / "annot")
    data = ["DATA.PATH_TO_DATA_DIR", tmp_path / "annot", "DATA.PATH_PREFIX", demo / "image"]
    data += ["DATA.VIDEO_PREFIX", demo / "video", "OUTPUT_DIR", tmp_path / "out"]

    def call(*more, cfg="configs/AK/DEMO.yaml"):
        return run_net(tree, "--cfg", cfg, *data, *SMALL, *more)

    return call


def check_refused(done, tmp_path, path, statuses=(4,)):
    assert not (tmp_path / "canary").exists()
    assert done.returncode in statuses, done.stderr + done.stdout
    assert "Traceback" not in done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("run_net: error: ")]
    assert len(errors) == 1 and path.name in errors[0], done.stderr


@pytest.mark.parametrize(
    ("kind", "place"),
    [("zip", "TRAIN"), ("pickle", "TEST"), ("legacy", "resume")],
    ids=["I1-G9-zip", "I1-G9-pickle", "I1-G9-legacy"],
)
def test_a_payload_in_a_checkpoint(command, tmp_path, kind, place):
    name = "weights.pkl" if kind == "pickle" else "weights.pyth"
    path, arguments = tmp_path / name, [f"{place}.CHECKPOINT_FILE_PATH", tmp_path / name]
    if place == "resume":
        path, arguments = tmp_path / "out/checkpoints/checkpoint_epoch_00001.pyth", []
        path.parent.mkdir(parents=True)
    content = {"model_state": Payload(tmp_path / "canary"), "epoch": 0, "optimizer_state": {}}
    if kind == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=kind == "zip")
    check_refused(command(*arguments), tmp_path, path)


@pytest.mark.parametrize(
    "tag", ["os.mkdir [{}]", "os.system ['mkdir {}']"], ids=lambda tag: f"I1-D4-{tag[:9]}"
)
def test_a_payload_in_a_configuration(command, tmp_path, tag):
    path = tmp_path / "a.yaml"
    path.write_text(f"OUTPUT_DIR: !!python/object/apply:{tag.format(tmp_path / 'canary')}\n")
    check_refused(command(cfg=path), tmp_path, path)


@pytest.mark.parametrize("column", [0, 3, 4], ids=["I1-id", "I1-path", "I1-labels"])
def test_payloads_in_an_annotation(command, tmp_path, column):
    path = tmp_path / "annot" / "train.csv"
    head, *rows = path.read_text().splitlines()
    for number, code in enumerate(CODES):
        cells = rows[number].split(" ")
        cells[column] = '"' + code.format(tmp_path / "canary") + '"'
        rows[number] = " ".join(cells)
    path.write_text("\n".join([head, *rows]) + "\n")
    check_refused(command("DATA.SOURCE", "frames"), tmp_path, path, statuses=(2, 4))


def test_I1_payloads_in_a_workbook(command, tmp_path):
    path, book = tmp_path / "classes.xlsx", openpyxl.Workbook()
    for code in CODES:
        book.active.append([code.format(tmp_path / "canary")] * 4)
    book.save(path)
    done = command("METRICS.CLASS_TABLE", path)
    check_refused(done, tmp_path, path, statuses=(2, 4))

"""A checkpoint of the model zoo becomes one that loads safely, with every parameter the same."""

from __future__ import annotations

import argparse
import os
import pickle
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from caffe2_files import caffe2_name, python2_pickle
from torch import nn

from actionrec.engine import checkpoint_file
from actionrec.engine import convert_checkpoint as module
from actionrec.engine.checkpoint import load_checkpoint
from actionrec.engine.convert_checkpoint import convert, model_keys
from actionrec.engine.initial_weights import load_exactly, load_initial_weights
from actionrec.errors import SecurityError, UserError

NAMES = {  # as SlowFast's code and its logs of real files give them
    "conv1_w": "s1.pathway0_stem.conv.weight",
    "t_res_conv1_bn_riv": "s1.pathway1_stem.bn.running_var",
    "t_pool1_subsample_bn_s": "s1_fuse.bn.weight",
    "t_res3_3_branch2c_bn_subsample_w": "s3_fuse.conv_f2s.weight",
    "t_res4_5_branch2c_bn_subsample_bn_rm": "s4_fuse.bn.running_mean",
    "t_res2_0_branch1_bn_b": "s2.pathway1_res0.branch1_bn.bias",
    "res4_5_branch2a_bn_riv": "s4.pathway0_res5.branch2.a_bn.running_var",
    "nonlocal_conv4_3_theta_w": "s4.pathway0_nonlocal3.conv_theta.weight",
    "nonlocal_conv4_3_bn_s": "s4.pathway0_nonlocal3.bn.weight",
    "pred_w": "head.projection.weight",
}
NONLOCAL = [[[]], [[1, 3]], [[1, 3, 5]], [[]]]
ARCHS = ["slowfast", "i3d", "i3d with non-local blocks", "slow", "c2d"]


def make_model(arch: str, num_classes: int = 7) -> nn.Module:
    """A narrow model with values of its own in every parameter and statistic."""
    from slowfast.ak import base

    cfg = base.default_config()
    cfg.MODEL.ARCH, cfg.MODEL.NUM_CLASSES = arch.split()[0], num_classes
    cfg.RESNET.WIDTH_PER_GROUP, cfg.DATA.TRAIN_CROP_SIZE = 8, 64
    if arch == "slowfast":
        for key in ("NUM_BLOCK_TEMP_KERNEL", "SPATIAL_STRIDES", "SPATIAL_DILATIONS"):
            cfg.RESNET[key] = [stage * 2 for stage in cfg.RESNET[key]]
        cfg.NONLOCAL.LOCATION, cfg.NONLOCAL.GROUP = [[[], []]] * 4, [[1, 1]] * 4
        cfg.SLOWFAST.FUSION_KERNEL_SZ, cfg.DATA.INPUT_CHANNEL_NUM = 7, [3, 3]
    else:
        cfg.MODEL.MODEL_NAME, cfg.DATA.INPUT_CHANNEL_NUM = "ResNet", [3]
    if "non-local" in arch:
        cfg.NONLOCAL.LOCATION = NONLOCAL
    torch.manual_seed(1)
    model = base.build_model(cfg)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape))
    return model


def caffe2_blobs(model: nn.Module) -> dict[str, np.ndarray]:
    """Without the counters of batches, which Caffe2 did not have."""
    return {
        caffe2_name(name): tensor.numpy()
        for name, tensor in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(
        left[name].dtype == right[name].dtype and torch.equal(left[name], right[name])
        for name in left
    )


@pytest.fixture
def rename(tree) -> Callable[[str], str]:
    from slowfast.utils.c2_model_loading import get_name_convert_func

    return get_name_convert_func()


def by_python2(blobs) -> bytes:
    return python2_pickle(blobs)


def by_python3(blobs) -> bytes:
    return pickle.dumps({"blobs": {**blobs, "lr": np.float32(0.1), "model_iter": 3}}, 2)


def by_python3_with_an_older_numpy(blobs) -> bytes:
    return by_python3(blobs).replace(b"cnumpy._core.", b"cnumpy.core.")


def test_names_are_slowfasts_own(rename):
    assert {name: rename(name) for name in NAMES} == NAMES
    assert {caffe2_name(new): new for new in NAMES.values()} == NAMES


@pytest.mark.parametrize("arch", ARCHS)
def test_every_parameter_is_the_same(rename, tmp_path, arch):
    source, out, model = tmp_path / "zoo.pkl", tmp_path / "zoo.pyth", make_model(arch)
    source.write_bytes(by_python2(caffe2_blobs(model)))
    converted = convert(source, out, rename)
    state = load_checkpoint(out)
    assert same(state["model_state"], model.state_dict())
    assert set(state) == {"model_state", "source"}
    assert state["source"]["name"] == "zoo.pkl"
    assert converted.unknown == ()
    assert converted.left_out["lr"] == converted.left_out["model_iter"] == 1
    assert converted.left_out["momentum"] == len(list(model.parameters()))
    fresh = make_model(arch)
    nn.init.zeros_(fresh.head.projection.weight)
    load_exactly(fresh, state["model_state"], out)
    assert same(fresh.state_dict(), model.state_dict())
    assert "not in the file" not in "".join(
        load_initial_weights(make_model(arch, 3), state["model_state"]).lines()
    )


@pytest.mark.parametrize("write", [by_python2, by_python3, by_python3_with_an_older_numpy])
def test_slowfast_loads_the_two_files_alike(rename, tmp_path, write):
    from slowfast.utils.checkpoint import load_checkpoint as load_with_slowfast

    source, out, model = tmp_path / "zoo.pkl", tmp_path / "zoo.pyth", make_model("slowfast")
    source.write_bytes(write(caffe2_blobs(model)))
    convert(source, out, rename)
    loaded = [make_model("slowfast") for _ in range(2)]
    for other in loaded:
        for parameter in other.parameters():
            nn.init.zeros_(parameter)
    load_with_slowfast(str(source), loaded[0], data_parallel=False, convert_from_caffe2=True)
    epoch = load_with_slowfast(str(out), loaded[1], data_parallel=False)
    assert epoch == -1  # so that a training starts at the first one
    assert same(loaded[0].state_dict(), model.state_dict())
    assert same(loaded[1].state_dict(), model.state_dict())


def test_values_become_float32_in_c_order(rename, tmp_path):
    values = np.asfortranarray(np.arange(30, dtype=">f8").reshape(5, 3, 1, 1, 2))
    source, out = tmp_path / "zoo.pkl", tmp_path / "zoo.pyth"
    source.write_bytes(by_python3({"conv1_w": values}))
    convert(source, out, rename)
    (tensor,) = load_checkpoint(out)["model_state"].values()
    assert tensor.dtype == torch.float32 and tensor.is_contiguous()
    assert np.array_equal(tensor.numpy(), values)


@pytest.mark.parametrize(
    ("arch", "keys"),
    [
        ("slowfast", {"MODEL.ARCH": "slowfast", "SLOWFAST.FUSION_KERNEL_SZ": 7}),
        ("i3d", {"MODEL.ARCH": "i3d"}),
        ("i3d with non-local blocks", {"MODEL.ARCH": "i3d"}),
        ("slow", {"MODEL.ARCH": "slow"}),
        ("c2d", {"MODEL.ARCH": "c2d"}),
    ],
)
def test_the_weights_tell_the_model(tree, arch, keys):
    told = model_keys(make_model(arch).state_dict())
    assert told == {**keys, "RESNET.DEPTH": 50, "MODEL.NUM_CLASSES": 7}


def test_weights_of_another_network_tell_nothing():
    assert model_keys(nn.Linear(2, 3).state_dict()) == {}


def test_what_is_no_parameter_is_named_and_left_out(rename, tmp_path):
    source, out = tmp_path / "zoo.pkl", tmp_path / "zoo.pyth"
    blobs = {"conv1_w": np.ones(2, np.float32), "fc_\x1b[2J_w": np.ones(2), "epoch": 3}
    source.write_bytes(by_python2(blobs))
    converted = convert(source, out, rename)
    assert list(converted.model_state) == ["s1.pathway0_stem.conv.weight"]
    line = converted.lines(source, out)[-1]
    assert line == r"NOT converted, no names of SlowFast's models: fc_\x1b[2J_w, epoch"


REFUSED = {
    "no blobs of SlowFast": ({"fc6_w": np.ones(2)}, "of none of SlowFast, C2D, I3D and Slow"),
    "nothing": ({}, "it has nothing"),
    "two of one": (
        {"conv1_w": np.ones(2), "res_conv1_w": np.ones(2)},
        "two blobs would be s1.pathway0_stem.conv.weight",
    ),
    "NaN": ({"conv1_w": np.array([1, np.nan])}, "weight holds NaN or infinity"),
    "too large for float32": ({"conv1_w": np.array([1e300])}, "weight holds NaN or infinity"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", REFUSED)
def test_weights_of_no_use_are_refused_and_nothing_is_written(rename, tmp_path, kind):
    blobs, line = REFUSED[kind]
    source = tmp_path / "zoo.pkl"
    source.write_bytes(by_python3(blobs))
    with pytest.raises(UserError, match=re.escape(line)):
        convert(source, tmp_path / "zoo.pyth", rename)
    assert list(tmp_path.iterdir()) == [source]


def test_a_name_without_end_costs_no_time(rename, tmp_path):
    (tmp_path / "zoo.pkl").write_bytes(by_python3({"conv1_w": np.ones(2), "bn" * 200_000: 1}))
    converted = convert(tmp_path / "zoo.pkl", tmp_path / "zoo.pyth", rename)
    assert len(converted.unknown) == 1
    assert max(map(len, converted.lines(Path("a"), Path("b")))) < 200


def test_one_array_under_many_names_is_a_bomb(rename, tmp_path):
    blob = np.ones(10_000, np.float32)
    names = ["conv1_w", *(f"res2_{n}_branch2a_w" for n in range(1000))]
    (tmp_path / "zoo.pkl").write_bytes(by_python3(dict.fromkeys(names, blob)))
    with pytest.raises(SecurityError, match="its arrays would fill"):
        convert(tmp_path / "zoo.pkl", tmp_path / "zoo.pyth", rename)


@pytest.mark.parametrize("name", ["x3d_m.pyth", "SLOWFAST_16x8_R50.pkl"])
@pytest.mark.parametrize("zipped", [True, False])
def test_of_a_file_of_torch_the_weights_are_taken_whatever_its_name(tmp_path, name, zipped):
    model = nn.Sequential(nn.Conv3d(3, 4, 1).half(), nn.BatchNorm3d(4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    content = {
        "epoch": 5,
        "model_state": model.state_dict(),
        "optimizer_state": optimizer.state_dict(),
        "cfg": "A: 1",
    }
    torch.save(content, tmp_path / name, _use_new_zipfile_serialization=zipped)
    assert load_checkpoint(tmp_path / name)["epoch"] == 5
    converted = convert(tmp_path / name, tmp_path / "out.pyth", str)
    state = load_checkpoint(tmp_path / "out.pyth")
    assert same(state["model_state"], model.float().state_dict())
    assert "epoch" not in state and "optimizer_state" not in state
    lines = converted.lines(Path("a"), Path("b"))
    assert lines == ["a: PyTorch", "b: 7 tensors", "left out: cfg, epoch, optimizer_state"]


STATE = {"0.weight": torch.ones(3)}
TORCH = {
    "PyTorchVideo": (
        {"model_state": {"blocks.0.multipathway_blocks.0.conv.weight": torch.ones(3)}},
        UserError, "is of PyTorchVideo",
    ),
    "a namespace": (
        {"model_state": STATE, "args": argparse.Namespace(lr=1)}, SecurityError, "argparse",
    ),
    "numpy": (
        {"model_state": {"0.weight": np.ones(3)}}, SecurityError, "nothing was executed",
    ),
    "weights alone": (STATE, UserError, "holds no 'model_state'"),
    "no tensor": ({"model_state": {"0.weight": 3}}, UserError, "more than named tensors"),
    "a sparse one": (
        {"model_state": {"0.weight": torch.eye(3).to_sparse()}}, UserError, "no plain tensor",
    ),
    "a meta one": (
        {"model_state": {"0.weight": torch.ones(3, device="meta")}}, UserError, "no plain tensor",
    ),
    "a bomb": (
        {"model_state": {"0.weight": torch.ones(1).expand(10**12)}}, SecurityError, "would fill",
    ),
    "NaN": ({"model_state": {"0.weight": torch.tensor([torch.nan])}}, UserError, "holds NaN"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TORCH)
def test_files_of_torch_without_weights_for_slowfast_are_refused(tmp_path, kind):
    content, error, line = TORCH[kind]
    source = tmp_path / "in.pyth"
    torch.save(content, source)
    with pytest.raises(error, match=line) as caught:
        convert(source, tmp_path / "out.pyth", str)
    assert str(caught.value).isprintable()
    assert list(tmp_path.iterdir()) == [source]


def test_a_view_is_saved_without_what_it_is_a_view_of(tmp_path):
    large = torch.ones(100_000)
    torch.save({"model_state": {"0.weight": large[:10]}, "all": large}, tmp_path / "in.pyth")
    convert(tmp_path / "in.pyth", tmp_path / "out.pyth", str)
    assert (tmp_path / "out.pyth").stat().st_size < 5_000


def test_a_huge_file_is_refused_unread(tmp_path, monkeypatch):
    with (tmp_path / "in.pkl").open("wb") as file:
        file.truncate(module.MAX_FILE_BYTES + 1)
    monkeypatch.setattr(Path, "read_bytes", None)
    with pytest.raises(SecurityError, match="larger than 2 GB"):
        convert(tmp_path / "in.pkl", tmp_path / "out.pyth", str)


def command(tree: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """`python tools/convert_checkpoint.py *arguments`, given in `folder`."""
    tool = tree / "tools" / "convert_checkpoint.py"
    return subprocess.run(
        [sys.executable, tool, *map(str, arguments)],
        cwd=folder,
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"], "OMP_NUM_THREADS": "1"},
    )


def test_the_command_converts_and_says_what_to_type_next(tree, tmp_path):
    model = make_model("slowfast")
    (tmp_path / "zoo.pkl").write_bytes(by_python2(caffe2_blobs(model)))
    done = command(tree, tmp_path, "zoo.pkl", "my zoo.pyth")
    assert (done.returncode, done.stderr) == (0, "")
    num_trained = len(list(model.parameters()))
    assert done.stdout.splitlines() == [
        "zoo.pkl: Caffe2, a model of MODEL.ARCH slowfast RESNET.DEPTH 50 "
        "SLOWFAST.FUSION_KERNEL_SZ 7 MODEL.NUM_CLASSES 7",
        f"my zoo.pyth: {len(model.state_dict())} tensors",
        f"left out: {num_trained} momentum, lr, model_iter",
        "next: python tools/run_net.py --cfg FILE.yaml TRAIN.CHECKPOINT_FILE_PATH 'my zoo.pyth'",
    ]
    assert same(load_checkpoint(tmp_path / "my zoo.pyth")["model_state"], model.state_dict())


def test_a_part_that_was_not_converted_shows_in_the_exit_status(tree, tmp_path):
    (tmp_path / "zoo.pkl").write_bytes(by_python3({"conv1_w": np.ones(3), "fc6_w": np.ones(3)}))
    done = command(tree, tmp_path, "zoo.pkl", "zoo.pyth")
    assert done.returncode == 3 and "NOT converted" in done.stdout
    assert (tmp_path / "zoo.pyth").is_file()


class Payload:
    def __reduce__(self):
        return os.system, ("touch canary",)


ZOO = by_python3({"conv1_w": np.ones(3, np.float32)})
MISTAKES = {  # arguments, exit status, what the line says
    "no such file": (["none.pkl", "out.pyth"], 2, "none.pkl: no such file"),
    "a folder": (["folder", "out.pyth"], 2, "folder: is not a file"),
    "a text": (["text.pkl", "out.pyth"], 2, "text.pkl: is neither a Caffe2 nor a PyTorch"),
    "nothing": (["empty.pkl", "out.pyth"], 2, "empty.pkl: is neither"),
    "an archive": (["archive.pkl", "out.pyth"], 2, "archive.pkl: is a gzip archive"),
    "half a file": (["half.pkl", "out.pyth"], 2, "half.pkl: damaged"),
    "half a zip": (["half.pyth", "out.pyth"], 2, "half.pyth: damaged"),
    "code": (["code.pkl", "out.pyth"], 4, "code.pkl: refused, nothing was executed"),
    "code in torch": (["code.pyth", "out.pyth"], 4, "code.pyth: refused, nothing was executed"),
    "old code": (["code0.pkl", "out.pyth"], 2, "code0.pkl: is neither"),
    "another ending": (["zoo.pkl", "out.pkl"], 2, "out.pkl: does not end in .pyth"),
    "no folder": (["zoo.pkl", "none/out.pyth"], 2, "none/out.pyth: no such folder: none"),
    "there already": (["zoo.pkl", "there.pyth"], 2, "there.pyth: is there already; give another"),
    "itself": (["there.pyth", "there.pyth", "--overwrite"], 2, "but is the input or a folder"),
    "over a folder": (["zoo.pkl", "folder.pyth", "--overwrite"], 2, "but is the input or a folder"),
    "one argument": (["zoo.pkl"], 2, "arguments are required: OUT.pyth"),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_one_line(tree, tmp_path, kind):
    arguments, status, line = MISTAKES[kind]
    torch.save({"model_state": Payload()}, tmp_path / "code.pyth")
    torch.save({"model_state": STATE}, tmp_path / "there.pyth")
    for name, content in {
        "text.pkl": b"<html>not found</html>",
        "empty.pkl": b"",
        "archive.pkl": b"\x1f\x8b\x08" + bytes(20),
        "half.pkl": ZOO[: len(ZOO) // 2],
        "half.pyth": (tmp_path / "there.pyth").read_bytes()[:300],
        "code.pkl": pickle.dumps({"blobs": Payload()}, 2),
        "code0.pkl": pickle.dumps({"blobs": Payload()}, 0),
        "zoo.pkl": ZOO,
    }.items():
        (tmp_path / name).write_bytes(content)
    for name in ("folder", "folder.pyth"):
        (tmp_path / name).mkdir()
    before = {path: path.stat() for path in tmp_path.iterdir()}
    done = command(tree, tmp_path, *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    *usage, said = done.stderr.splitlines()
    assert line in said and said.isprintable()
    assert usage == [] or kind == "one argument"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == {
        path: status.st_mtime_ns for path, status in before.items()
    }


def test_overwrite_replaces_the_file_and_leaves_nothing_beside_it(tree, tmp_path):
    (tmp_path / "zoo.pkl").write_bytes(ZOO)
    (tmp_path / "out.pyth").write_text("mine")
    assert command(tree, tmp_path, "zoo.pkl", "out.pyth", "--overwrite").returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.pyth", "zoo.pkl"]
    assert len(load_checkpoint(tmp_path / "out.pyth")["model_state"]) == 1


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    (tmp_path / "in.pyth").write_bytes(b"")
    torch.save({"model_state": STATE}, tmp_path / "in.pyth")
    (tmp_path / "out.pyth").write_text("mine")

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_file, "_write_sealed", full)
    with pytest.raises(UserError, match="not saved .No space left on device"):
        convert(tmp_path / "in.pyth", tmp_path / "out.pyth", str, overwrite=True)
    assert (tmp_path / "out.pyth").read_text() == "mine"


def test_outside_a_tree_the_command_says_where_to_run_it(repo, tmp_path):
    done = command(repo / "code_new", tmp_path, "a.pkl", "b.pyth")
    assert done.returncode == 2
    assert "is no prepared SlowFast tree; run prepare_dir_AR.sh" in done.stderr


def test_a_run_starts_from_the_file_and_a_test_takes_it(tree, run_net, tmp_path):
    from actionrec.data.demo import make_demo

    make_demo(tmp_path / "demo", clips_per_split=4)
    (tmp_path / "zoo.pkl").write_bytes(by_python2(caffe2_blobs(make_model("i3d", 12))))
    assert command(tree, tmp_path, "zoo.pkl", "zoo.pyth").returncode == 0
    arguments = [
        "--cfg", "configs/AK/I3D_8x8_R50.yaml",
        "DATA.PATH_TO_DATA_DIR", tmp_path / "demo/annot",
        "DATA.PATH_PREFIX", tmp_path / "demo/image", "DATA.SOURCE", "frames",
        "DATA.TRAIN_CROP_SIZE", 64, "DATA.TEST_CROP_SIZE", 64,
        "DATA.TRAIN_JITTER_SCALES", "[64, 80]", "NUM_GPUS", 0, "MODEL.NUM_CLASSES", 12,
        "RESNET.WIDTH_PER_GROUP", 8, "SOLVER.MAX_EPOCH", 1, "SOLVER.WARMUP_EPOCHS", 0,
        "TRAIN.BATCH_SIZE", 4, "TEST.NUM_ENSEMBLE_VIEWS", 1, "TEST.NUM_SPATIAL_CROPS", 1,
        "BN.USE_PRECISE_STATS", False, "DATA_LOADER.NUM_WORKERS", 0,
    ]  # fmt: skip
    trained = run_net(
        tree, *arguments, "TEST.ENABLE", False, "OUTPUT_DIR", tmp_path / "trained",
        "TRAIN.CHECKPOINT_FILE_PATH", tmp_path / "zoo.pyth",
    )  # fmt: skip
    assert trained.returncode == 0, trained.stderr
    assert re.search(r"initial weights: \d+ tensors loaded", trained.stdout)
    assert "start anew" not in trained.stdout
    tested = run_net(
        tree, *arguments, "TRAIN.ENABLE", False, "OUTPUT_DIR", tmp_path / "tested",
        "TEST.CHECKPOINT_FILE_PATH", tmp_path / "zoo.pyth",
    )  # fmt: skip
    assert tested.returncode == 0, tested.stderr
    assert "mAP %" in tested.stdout

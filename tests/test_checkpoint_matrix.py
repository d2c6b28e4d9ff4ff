"""Every kind of checkpoint into every reader, on both bases: the scores are those of its model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ARCHS = ("slowfast", "i3d", "x3d")
CONFIGS = {"slowfast": "SLOWFAST_8x8_R50", "i3d": "I3D_8x8_R50", "x3d": "X3D_M"}
NARROW = (
    "DATA.NUM_FRAMES 8 DATA.TRAIN_CROP_SIZE 64 DATA.TEST_CROP_SIZE 64 RESNET.WIDTH_PER_GROUP 8 "
    "DATA.TRAIN_JITTER_SCALES [64,80] MODEL.NUM_CLASSES 12 X3D.DIM_C5 32 NUM_GPUS 0"
).split()
FROM = {
    "slowfast": ("ours, wheel", "ours, git", "upstream's", "weights alone", "caffe2"),
    "i3d": ("ours, wheel", "ours, git", "upstream's", "weights alone", "caffe2", "2D"),
    "x3d": ("ours, wheel", "ours, git", "upstream's", "weights alone"),
}


def config(arch: str, folder: Path, *overrides: str):
    from slowfast.ak import base
    from slowfast.ak.config import merge

    cfg = base.default_config()
    place = ["DATA.PATH_TO_DATA_DIR", str(folder), "OUTPUT_DIR", str(folder / "out")]
    file = Path("configs/AK") / f"{CONFIGS[arch]}.yaml"
    assert merge(cfg, file, [*NARROW, *place, *overrides]) == []
    return cfg


def model_of(cfg, seed: int):
    """A model whose every value, batch norm's statistics too, comes from the seed."""
    from slowfast.ak import base

    torch.manual_seed(seed)
    model = base.build_model(cfg)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                value.copy_(torch.rand_like(value) + 0.5 if "bn" in name else value)
    return model.eval()


@torch.no_grad()
def scores(model, cfg) -> list[list[float]]:
    from actionrec.models.video_model import VideoModel
    from slowfast.ak.settings import make_settings

    generator = torch.Generator().manual_seed(7)
    clips = torch.randint(0, 256, (2, 8, 64, 64, 3), dtype=torch.uint8, generator=generator)
    return VideoModel(model, make_settings(cfg, []).input).eval()(clips).tolist()


def path_of(folder: Path, source: str, arch: str) -> Path:
    return folder / f"{source.replace(' ', '_').replace(',', '')}_{arch}.pyth"


def write(folder: Path, arch: str) -> dict[str, object]:
    """The checkpoints that this base can write; returns the scores of the model that is in them."""
    from actionrec.engine import checkpoint
    from slowfast.ak import base
    from slowfast.ak.settings import make_settings

    cfg = config(arch, folder)
    model, settings = model_of(cfg, seed=1), make_settings(cfg, [])
    state = checkpoint.make_state(
        settings,
        epoch=0,
        step=0,
        model_state=model.state_dict(),
        optimizer_state={},
        loss_state={},
        class_names=[str(c) for c in range(12)],
        hashes={},
        best_map=None,
    )
    checkpoint.save_checkpoint(path_of(folder, f"ours, {base.kind()}", arch), state)
    if base.kind() == "git":
        import slowfast.utils.checkpoint as cu

        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        saved = cu.save_checkpoint(str(folder / f"{arch}_upstream"), model, optimizer, 0, cfg)
        Path(saved).rename(path_of(folder, "upstream's", arch))
        weights = {"model_state": model.state_dict()}
        torch.save(weights, path_of(folder, "weights alone", arch))
    return {"scores": scores(model, cfg)}


def read(folder: Path, arch: str) -> dict[str, object]:
    """What each reader of this base makes of each checkpoint: scores, or what was left out."""
    from actionrec.engine.checkpoint import load_checkpoint
    from actionrec.engine.initial_weights import load_exactly, load_initial_weights
    from slowfast.ak import base

    found: dict[str, object] = {}
    for source in FROM[arch]:
        path, cfg = path_of(folder, source, arch), config(arch, folder)
        state, flat = load_checkpoint(path)["model_state"], source == "2D"
        start = model_of(cfg, seed=2)
        report = load_initial_weights(start, state, inflate=flat)
        found[f"{source}: start"] = scores(start, cfg)
        found[f"{source}: not loaded"] = [*report.missing, *report.unexpected, *report.dropped]
        other = config(arch, folder, "MODEL.NUM_CLASSES", "5")
        report = load_initial_weights(model_of(other, seed=2), state, inflate=flat)
        found[f"{source}: other classes"] = [name for name, *_ in report.dropped]
        if not flat:
            test = model_of(cfg, seed=3)
            load_exactly(test, state, path)
            found[f"{source}: test"] = scores(test, cfg)
        if base.kind() == "git":
            found |= read_as_upstream(path, cfg, source)
    return found


def read_as_upstream(path: Path, cfg, source: str) -> dict[str, object]:
    import slowfast.utils.checkpoint as cu

    model = model_of(cfg, seed=4)
    cfg.TRAIN.CHECKPOINT_FILE_PATH = cfg.TEST.CHECKPOINT_FILE_PATH = str(path)
    cfg.TRAIN.CHECKPOINT_INFLATE = source == "2D"
    cfg.TRAIN.CHECKPOINT_EPOCH_RESET = True
    cu.load_train_checkpoint(cfg, model, None)
    found = {f"{source}: upstream's start": scores(model, cfg)}
    if source != "2D":
        model = model_of(cfg, seed=5)
        cu.load_test_checkpoint(cfg, model)
        found[f"{source}: upstream's test"] = scores(model, cfg)
    return found


@pytest.fixture(scope="module")
def matrix(tree, git_base, tmp_path_factory):
    """(base, arch) -> what was written and read there."""
    import caffe2_files

    from actionrec.engine.convert_checkpoint import convert

    folder = tmp_path_factory.mktemp("matrix")

    def work(job: str) -> dict[str, dict[str, object]]:
        result = {}
        for name, where in (("wheel", tree), ("git", git_base)):
            report = folder / f"{job}_{name}.json"
            done = subprocess.run(
                [sys.executable, "-W", "ignore", __file__, job, folder, report],
                cwd=where,
                env={**os.environ, "PYTHONPATH": str(where), "OMP_NUM_THREADS": "1"},
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
            result[name] = json.loads(report.read_text())
        return result

    written = work("write")
    from slowfast.utils.c2_model_loading import get_name_convert_func

    for arch in ("slowfast", "i3d"):
        state = torch.load(path_of(folder, "weights alone", arch))["model_state"]
        blobs = {
            caffe2_files.caffe2_name(name): tensor.numpy()
            for name, tensor in state.items()
            if "num_batches_tracked" not in name
        }
        (folder / f"{arch}.pkl").write_bytes(caffe2_files.python2_pickle(blobs))
        out = path_of(folder, "caffe2", arch)
        convert(folder / f"{arch}.pkl", out, get_name_convert_func())
    flat = {k: t.sum(2) if t.ndim == 5 else t for k, t in state.items()}  # of i3d
    torch.save({"model_state": flat}, path_of(folder, "2D", "i3d"))
    return written, work("read")


def test_the_models_are_the_same_on_both_bases(matrix):
    written, _ = matrix
    assert written["wheel"] == written["git"]


@pytest.mark.parametrize("arch", ARCHS)
@pytest.mark.parametrize("base", ["wheel", "git"])
def test_every_reader_gives_the_scores_of_the_model_that_was_saved(base, arch, matrix):
    written, was_read = matrix
    expected, found = written["git"][arch]["scores"], was_read[base][arch]
    readers = {"wheel": ["start", "test"], "git": ["start", "test"]}[base]
    readers += ["upstream's start", "upstream's test"] if base == "git" else []
    for source in FROM[arch]:
        if source != "2D":
            for reader in readers:
                assert found[f"{source}: {reader}"] == expected, (source, reader)
        assert found[f"{source}: not loaded"] == [], source
        classifier = ["head.projection.weight", "head.projection.bias"]
        assert found[f"{source}: other classes"] == classifier, source


def test_a_2d_model_is_inflated_alike_by_every_reader(matrix):
    _, was_read = matrix
    wheel, git = was_read["wheel"]["i3d"]["2D: start"], was_read["git"]["i3d"]
    assert wheel == git["2D: start"] == git["2D: upstream's start"]


if __name__ == "__main__":
    torch.set_num_threads(1)
    job, place = {"write": write, "read": read}[sys.argv[1]], Path(sys.argv[2])
    Path(sys.argv[3]).write_text(json.dumps({arch: job(place, arch) for arch in ARCHS}))

"""Our X3D is the git base's, bit for bit; without that tree, it is what that one once gave.

Renew the golden file, from a tree of the git base:
PYTHONPATH=.trees/git python tests/test_x3d.py golden tests/golden/x3d.json
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from actionrec.errors import UserError
from actionrec.models.x3d import X3D, SqueezeExcitation, Swish
from actionrec.models.x3d_settings import X3DSettings, round_width

REPO = Path(__file__).resolve().parents[1]
GOLDEN = REPO / "tests" / "golden" / "x3d.json"
Build = Callable[[X3DSettings], nn.Module]

# The key that SlowFast's X3D reads for each setting.
KEYS = {
    "num_classes": "MODEL.NUM_CLASSES",
    "num_frames": "DATA.NUM_FRAMES",
    "crop_px": "DATA.TRAIN_CROP_SIZE",
    "width_factor": "X3D.WIDTH_FACTOR",
    "depth_factor": "X3D.DEPTH_FACTOR",
    "bottleneck_factor": "X3D.BOTTLENECK_FACTOR",
    "dim_c1": "X3D.DIM_C1",
    "dim_c5": "X3D.DIM_C5",
    "scale_res2": "X3D.SCALE_RES2",
    "bn_lin5": "X3D.BN_LIN5",
    "channelwise": "X3D.CHANNELWISE_3x3x3",
    "num_groups": "RESNET.NUM_GROUPS",
    "stride_1x1": "RESNET.STRIDE_1X1",
    "dilations": "RESNET.SPATIAL_DILATIONS",
    "dropout": "MODEL.DROPOUT_RATE",
    "head_act": "MODEL.HEAD_ACT",
    "fc_init_std": "MODEL.FC_INIT_STD",
    "zero_init_final_bn": "RESNET.ZERO_INIT_FINAL_BN",
}
# Keys that change nothing in SlowFast's X3D: it ignores them, or reads them without effect.
WITHOUT_EFFECT = {
    "RESNET.DEPTH": 101,
    "RESNET.WIDTH_PER_GROUP": 32,
    "RESNET.SPATIAL_STRIDES": [[1], [1], [1], [1]],
    "RESNET.NUM_BLOCK_TEMP_KERNEL": [[1], [1], [1], [1]],
    "RESNET.INPLACE_RELU": False,
    "MODEL.DROPCONNECT_RATE": 0.5,
    "DATA.TEST_CROP_SIZE": 500,
}

PUBLISHED = {"num_classes": 140, "width_factor": 2.0, "bottleneck_factor": 2.25}
SIZES = {
    "XS": X3DSettings(num_frames=4, crop_px=160, depth_factor=2.2, **PUBLISHED),
    "S": X3DSettings(num_frames=13, crop_px=160, depth_factor=2.2, **PUBLISHED),
    "M": X3DSettings(num_frames=16, crop_px=224, depth_factor=2.2, **PUBLISHED),
    "L": X3DSettings(num_frames=16, crop_px=312, depth_factor=5.0, **PUBLISHED),
}
# Weights of the last layer that are large enough for the features to show in the logits.
SMALL = X3DSettings(num_classes=7, num_frames=3, crop_px=32, dim_c5=24, fc_init_std=0.3)
VARIANTS = {
    "as it is": SMALL,
    "deeper": replace(SMALL, depth_factor=1.1, bottleneck_factor=2.25),
    "odd widths": replace(SMALL, dim_c1=3, width_factor=1.3, bottleneck_factor=1.7),
    "wider": replace(SMALL, scale_res2=True, bn_lin5=True, head_act="sigmoid"),
    "groups": replace(SMALL, channelwise=False, num_groups=3),
    "one group": replace(SMALL, channelwise=False, dropout=0.0),
    "strides": replace(SMALL, stride_1x1=True, dilations=(1, 2, 1, 3), crop_px=50),
    "zero": replace(SMALL, zero_init_final_bn=True, num_frames=1),
}


def upstream(settings: X3DSettings) -> nn.Module:
    """SlowFast's model, in a process that can import the git base."""
    from slowfast.config.defaults import _C
    from slowfast.models.video_model_builder import X3D as UpstreamX3D

    cfg = _C.clone()
    cfg.MODEL.ARCH, cfg.RESNET.TRANS_FUNC, cfg.DATA.INPUT_CHANNEL_NUM = "x3d", "x3d_transform", [3]
    values = {KEYS[name]: value for name, value in asdict(settings).items()}
    values["RESNET.SPATIAL_DILATIONS"] = [[d] for d in settings.dilations]
    for key, value in (values | WITHOUT_EFFECT).items():
        section, name = key.split(".")
        cfg[section][name] = value
    return UpstreamX3D(cfg)


def seeded(build: Build, settings: X3DSettings, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build(settings)


def clips(settings: X3DSettings, *, seed: int = 0, num: int = 4, more_px: int = 0) -> torch.Tensor:
    side = settings.crop_px + more_px
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, 3, settings.num_frames, side, side, generator=generator)


def names(model: nn.Module) -> str:
    """A checksum of the names, the order, the shapes and the types of a checkpoint."""
    lines = [f"{name} {tuple(t.shape)} {t.dtype}" for name, t in model.state_dict().items()]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def weights(model: nn.Module) -> str:
    """A checksum of every bit of a checkpoint."""
    content = [tensor.numpy().tobytes() for tensor in model.state_dict().values()]
    return hashlib.sha256(b"".join(content)).hexdigest()


def train(model: nn.Module, settings: X3DSettings, num_steps: int) -> list[float]:
    """Changes the model; returns the loss of each step."""
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), 0.05, 0.9, weight_decay=1e-4, nesterov=True)
    losses = []
    for step in range(num_steps):
        targets = (torch.arange(settings.num_classes) + torch.arange(4)[:, None]) % 3 == 0
        logits = model([clips(settings, seed=step)])
        loss = F.binary_cross_entropy_with_logits(logits, targets.float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def scores(model: nn.Module, settings: X3DSettings, more_px: int = 0) -> list[list[float]]:
    views = clips(settings, num=2, more_px=more_px).to(model.head.projection.weight.dtype)
    return model.eval()([views]).tolist()


def trace(build: Build, settings: X3DSettings, num_steps: int) -> dict[str, object]:
    """What has to be equal to the last bit on one machine."""
    model = seeded(build, settings)
    return {
        "next random number": torch.rand(1).item(),
        "names": names(model),
        "initial weights": weights(model),
        "losses": train(model, settings, num_steps),
        "trained weights": weights(model),
        "scores": [scores(model, settings, more_px) for more_px in (0, 33, 64)],
    }


def traces(build: Build) -> dict[str, object]:
    models = {size: seeded(build, settings) for size, settings in SIZES.items()}
    return {size: [names(model), weights(model)] for size, model in models.items()} | {
        name: trace(build, settings, num_steps=50 if settings == SMALL else 3)
        for name, settings in VARIANTS.items()
    }


def golden(build: Build) -> dict[str, object]:
    """What has to be equal within rounding on every machine."""
    result: dict[str, object] = {
        "names": {size: names(seeded(build, settings)) for size, settings in SIZES.items()},
        "sums of absolute initial weights": [
            sum(p.double().abs().sum().item() for p in seeded(build, SIZES["S"], seed).parameters())
            for seed in (0, 1)
        ],
    }
    # In double precision: batch norm over a few values makes rounding large.
    model = seeded(build, replace(SMALL, dropout=0.0)).double()
    result["logits"] = model.train()([clips(SMALL).double()]).tolist()
    return result | {
        "scores": scores(model, SMALL),
        "scores of larger crops": scores(model, SMALL, 64),
    }


@pytest.fixture(scope="module")
def upstream_traces(git_base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    path = tmp_path_factory.mktemp("x3d") / "traces.json"
    done = subprocess.run(
        [sys.executable, __file__, "traces", path],
        cwd=git_base,
        env={**os.environ, "PYTHONPATH": str(git_base)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def our_traces() -> dict[str, object]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield traces(X3D)
    torch.set_num_threads(threads)


@pytest.mark.parametrize("name", [*SIZES, *VARIANTS])
def test_is_the_git_bases_model_bit_for_bit(name, upstream_traces, request):
    assert request.getfixturevalue("our_traces")[name] == upstream_traces[name]


def test_golden():
    expected, found = json.loads(GOLDEN.read_text()), golden(X3D)
    assert found.keys() == expected.keys()
    assert found["names"] == expected["names"]
    # 1e-4: processors without AVX2 draw weights that differ in the last bit.
    for name in expected.keys() - {"names"}:
        torch.testing.assert_close(
            torch.tensor(found[name]), torch.tensor(expected[name]), atol=1e-5, rtol=1e-4, msg=name
        )


@pytest.mark.parametrize(
    ("size", "num_keys", "num_parameters"),
    [("XS", 568, 3_261_582), ("S", 568, 3_261_582), ("M", 568, 3_261_582), ("L", 1146, 5_620_692)],
)
def test_sizes(size, num_keys, num_parameters):
    model = X3D(SIZES[size])
    assert len(model.state_dict()) == num_keys
    assert sum(p.numel() for p in model.parameters()) == num_parameters


def test_stages_are_those_of_the_papers_table():
    small, large = SIZES["S"].stages(), SIZES["L"].stages()
    assert [(s.dim_inner, s.dim_out) for s in small] == [(54, 24), (108, 48), (216, 96), (432, 192)]
    assert [s.num_blocks for s in small] == [3, 5, 11, 7]
    assert [s.num_blocks for s in large] == [5, 10, 25, 15]


@pytest.mark.parametrize(("least", "divisor"), [(1, 1), (1, 8), (8, 8)])
def test_widths_round_to_the_nearest_multiple_that_keeps_nine_tenths(least, divisor):
    for width in range(1, 300):
        for factor in (1 / 16, 0.3, 0.5, 1.0, 1.7, 2.0, 2.25):
            wanted = width * factor
            below = int(wanted // divisor) * divisor
            nearest = below if wanted - below < divisor / 2 else below + divisor
            expected = max(nearest, least)
            if expected < 0.9 * wanted:
                expected += divisor
            assert round_width(width, factor, least=least, divisor=divisor) == expected


def test_squeeze_excitation_scales_each_channel_by_its_gate():
    block, x = SqueezeExcitation(200), torch.randn(2, 200, 2, 3, 3)
    assert block.fc1.weight.shape == (16, 200, 1, 1, 1)  # 200 / 16 = 12.5
    first, second = block.fc1.weight.flatten(1), block.fc2.weight.flatten(1)
    hidden = F.relu(x.mean((2, 3, 4)) @ first.T + block.fc1.bias)
    gates = 1 / (1 + torch.exp(-(hidden @ second.T + block.fc2.bias)))
    torch.testing.assert_close(block(x), x * gates[:, :, None, None, None])


def test_swish_is_its_formula_and_has_its_slope():
    x = torch.linspace(-20, 20, 401, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(Swish()(x), x / (1 + torch.exp(-x)))
    assert torch.autograd.gradcheck(Swish(), (x,))


def test_training_gives_logits_and_leaves_the_list_as_it_is():
    model, views = seeded(X3D, SMALL).train(), clips(SMALL)
    pathways, before = [views], views.clone()
    logits = model(pathways)
    assert logits.shape == (4, 7) and logits.requires_grad and logits.min() < 0
    assert len(pathways) == 1 and pathways[0] is views and torch.equal(views, before)


@pytest.mark.parametrize("head_act", ["softmax", "sigmoid"])
def test_evaluation_averages_the_scores_of_the_positions(head_act):
    model = seeded(X3D, replace(SMALL, head_act=head_act)).eval()
    maps: list[torch.Tensor] = []
    model.head.projection.register_forward_hook(lambda module, args, output: maps.append(output))
    with torch.no_grad():
        found = model([clips(SMALL, more_px=33)])
    (logits,) = maps
    assert logits.shape == (4, 1, 3, 3, 7)
    each = logits.softmax(-1) if head_act == "softmax" else logits.sigmoid()
    torch.testing.assert_close(found, each.flatten(1, 3).mean(1))


@torch.no_grad()
def test_scores_of_a_clip_do_not_depend_on_its_batch():
    model, views = seeded(X3D, SMALL), clips(SMALL)
    model.train()([views])  # moves the running statistics
    model.eval()
    alone = torch.cat([model([view]) for view in views.split(1)])
    torch.testing.assert_close(model([views]), alone)


def test_blocks_start_as_their_shortcuts_where_the_last_batch_norm_is_zero():
    model = seeded(X3D, replace(SMALL, zero_init_final_bn=True)).eval()
    block = model.s4.pathway0_res1
    x = torch.rand(2, 48, 3, 2, 2)
    assert torch.equal(block(x), x)
    assert not torch.equal(seeded(X3D, SMALL).s4.pathway0_res1(x), x)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width_factor": 0.0}, "X3D.WIDTH_FACTOR: no X3D can be built with 0.0; give a finite nu"),
        ({"depth_factor": -1.0}, "X3D.DEPTH_FACTOR: .* -1.0; give a finite number above 0"),
        ({"bottleneck_factor": math.nan}, "X3D.BOTTLENECK_FACTOR: .* nan"),
        ({"bottleneck_factor": 0.01}, "X3D.BOTTLENECK_FACTOR: 0.01 of 12 channels leaves none"),
        ({"width_factor": math.inf}, "X3D.WIDTH_FACTOR: .* inf"),
        ({"dim_c1": 0}, "X3D.DIM_C1: .* 0; give 1 or more"),
        ({"dim_c5": -3}, "X3D.DIM_C5: .* -3"),
        ({"num_classes": 0}, "MODEL.NUM_CLASSES"),
        ({"num_frames": 0}, "DATA.NUM_FRAMES"),
        ({"crop_px": 0}, "DATA.TRAIN_CROP_SIZE"),
        ({"num_groups": 0}, "RESNET.NUM_GROUPS: .* 0"),
        ({"num_groups": 5, "channelwise": False}, "NUM_GROUPS: 5 does not divide the 12 channels"),
        ({"dilations": (1, 1)}, r"RESNET.SPATIAL_DILATIONS: .* \(1, 1\); give 1 or more for each"),
        ({"dropout": 1.0}, "MODEL.DROPOUT_RATE: .* 1.0; give 0 or more, below 1"),
        ({"head_act": "relu"}, "MODEL.HEAD_ACT: .* 'relu'; give softmax or sigmoid"),
        ({"fc_init_std": -0.1}, "MODEL.FC_INIT_STD: .* -0.1"),
    ],
)
def test_impossible_values_are_errors_that_name_the_key(changes, message):
    with pytest.raises(UserError, match=message):
        replace(SMALL, **changes)


if __name__ == "__main__":
    torch.set_num_threads(1)
    report = {"golden": golden, "traces": traces}[sys.argv[1]](upstream)
    Path(sys.argv[2]).write_text(json.dumps(report, indent=1) + "\n")

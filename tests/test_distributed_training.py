"""Training in several processes is the training of one with all of the clips, but for rounding."""

from __future__ import annotations

import csv
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from processes import in_processes
from tiny_run import NUM_CLASSES, Tiny, changed, json_stats, make_settings, weights
from torch import nn

import losses
from actionrec import launched
from actionrec.engine.optimizer import build_optimizer
from actionrec.engine.precise_bn import update_batch_norm
from actionrec.engine.run import run
from actionrec.engine.sync_batch_norm import SyncBatchNorm3d, synchronise
from actionrec.engine.train_step import Place, TrainStep
from actionrec.errors import UserError
from actionrec.models.video_model import VideoModel
from actionrec.types import Batch


def without_dropout():
    """Dropout follows from (seed, step, process): without it nothing depends on the share."""
    model = Tiny()
    model.dropout = nn.Identity()
    return model


def without_norm():
    model = without_dropout()
    model.bn = nn.Identity()
    return model


def own_part(tensor, sizes):
    return tensor.split(sizes)[launched.rank()]


def norm_share(sizes):
    """Outputs, gradients and statistics of the layer on this process's part of 7 clips."""
    torch.manual_seed(1)
    clips, wanted = torch.randn(7, 3, 2, 4, 4) * 5 + 100, torch.randn(7, 3, 2, 4, 4)
    layer = nn.BatchNorm3d(3)
    nn.init.normal_(layer.weight)
    nn.init.normal_(layer.bias)
    if len(sizes) > 1:
        layer = SyncBatchNorm3d.like(layer)
    own = own_part(clips, sizes).clone().requires_grad_()
    out = layer(own)
    (out * own_part(wanted, sizes)).sum().backward()
    of_clips = [out.detach().numpy(), own.grad.numpy()]
    sums = [layer.weight.grad.numpy(), layer.bias.grad.numpy()]
    return of_clips, sums, [b.numpy() for b in layer.buffers()]


@pytest.mark.parametrize("sizes", [[6, 1], [1, 4, 2]])
def test_synchronised_batch_norm_is_batch_norm_of_all_clips(sizes):
    of_clips, sums, buffers = norm_share([7])
    shares = in_processes(len(sizes), norm_share, sizes)
    for place, whole in enumerate(of_clips):
        parts = np.concatenate([share[0][place] for share in shares])
        np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-5)
    for place, whole in enumerate(sums):  # torch's wrapper adds them up
        np.testing.assert_allclose(sum(s[1][place] for s in shares), whole, rtol=1e-4, atol=1e-4)
    for share in shares:
        for mine, whole in zip(share[2], buffers, strict=True):
            np.testing.assert_allclose(mine, whole, rtol=1e-5)


def test_a_synchronised_model_keeps_names_weights_and_what_is_frozen():
    model = nn.Sequential(Tiny(), Tiny())
    model[1].bn.weight.requires_grad_(False)
    model[1].bn.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    after = synchronise(model, "cpu")
    assert isinstance(after[0].bn, SyncBatchNorm3d) and not after[1].bn.training
    assert not after[1].bn.weight.requires_grad and after[0].bn.weight.requires_grad
    assert after.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in after.state_dict().items())


def precise_shares(sizes):
    return [precise_share(sizes, is_synchronised) for is_synchronised in (False, True)]


def precise_share(sizes, is_synchronised):
    """The statistics after two batches of 7 clips, and the clips as the layer saw them."""
    torch.manual_seed(2)
    model = nn.Sequential(nn.Conv3d(3, 3, 1), nn.BatchNorm3d(3))
    batches = [torch.randn(7, 3, 2, 4, 4) * (step + 1) + step for step in range(2)]
    seen = model[0](torch.cat(batches)).detach().transpose(0, 1).flatten(1)
    if is_synchronised:
        model = synchronise(model, "cpu")
    done = update_batch_norm(model, [own_part(batch, sizes) for batch in batches], 2)
    return done, model[1].running_mean.numpy(), model[1].running_var.numpy(), seen.numpy()


def test_precise_batch_norm_is_mean_and_variance_of_what_all_processes_saw():
    for done, mean, variance, seen in itertools.chain(*in_processes(2, precise_shares, [5, 2])):
        assert done == 2
        np.testing.assert_allclose(mean, seen.mean(1), rtol=1e-5)
        np.testing.assert_allclose(variance, seen.var(1), rtol=1e-5)


def steps_share(build, sizes, accumulate=1, of_nan=None):
    """Losses of three steps on this process's part of 12 clips, and the weights after them."""
    rng = np.random.default_rng(0)
    settings = make_settings(Path("a"), Path("b"), log_period=1)
    settings = changed(settings, f"train.accumulate={accumulate}")
    torch.manual_seed(0)
    backbone = build()
    if len(sizes) > 1:
        backbone = synchronise(backbone, "cpu")
    model = VideoModel(backbone, settings.input).train()
    optimizer = build_optimizer(backbone, settings.solver)
    ids = [f"CLIP{clip}" for clip in range(12)]
    step = TrainStep(settings, model, losses.build("bce_loss"), optimizer, ids)
    found = []
    for number in range(3):
        frames = torch.from_numpy(rng.uniform(0, 255, (12, 2, 8, 8, 3)).astype(np.float32))
        targets = torch.from_numpy(rng.integers(0, 2, (12, NUM_CLASSES)).astype(np.float32))
        if of_nan is not None:
            frames[of_nan] = torch.nan
        whole = Batch(frames, targets, torch.arange(12))
        own = Batch(*(own_part(part, sizes) for part in whole))
        place = Place(0, number, number, 0.5)
        found.append(step.take(own if len(own.clips) else None, place))
    return found, {name: value.numpy() for name, value in backbone.state_dict().items()}


def assert_alike(share, whole):
    np.testing.assert_allclose(share[0], whole[0], rtol=1e-5)
    for name, value in whole[1].items():
        np.testing.assert_allclose(share[1][name], value, rtol=1e-4, atol=1e-6, err_msg=name)


def steps_shares(cases):
    return [steps_share(*case) for case in cases]


@pytest.mark.parametrize(
    "cases",
    [
        [
            (without_norm, [6, 6], 1),
            (without_norm, [6, 6], 4),
            (without_norm, [9, 3], 2),
            (without_dropout, [6, 6], 1),
        ],
        [(without_norm, [9, 1, 2], 1), (without_dropout, [5, 3, 4], 1)],
    ],
    ids=["2", "3"],
)
def test_steps_of_several_processes_are_those_of_one(cases):
    """Uneven shares are what bad clips leave: each clip counts alike, wherever it is."""
    shares = in_processes(len(cases[0][1]), steps_shares, cases)
    for place, (build, *_) in enumerate(cases):
        whole = steps_share(build, [12])
        for share in shares:
            assert_alike(share[place], whole)


@pytest.mark.parametrize("accumulate", [2, 5, 12])
def test_steps_in_parts_are_those_of_the_whole(accumulate):
    assert_alike(steps_share(without_norm, [12], accumulate), steps_share(without_norm, [12]))


def test_without_a_readable_clip_in_one_share_all_leave_the_step_out():
    shares = in_processes(2, steps_share, without_dropout, [12, 0])
    torch.manual_seed(0)
    start = without_dropout().state_dict()
    for found, after in shares:
        assert found == [None, None, None]
        assert all(np.array_equal(after[name], value.numpy()) for name, value in start.items())


def nan_messages(clips):
    return [nan_message(clip) for clip in clips]


def nan_message(of_nan):
    try:
        steps_share(without_norm, [6, 6], of_nan=of_nan)
    except UserError as error:
        return str(error)


def test_a_loss_that_is_not_finite_in_one_share_is_told_alike_in_all():
    one, other = in_processes(2, nan_messages, [2, 8])
    assert one == other
    assert all("bce_loss is nan at epoch 1, step 0" in message for message in one)
    assert one[0].count("CLIP") == one[1].count("CLIP") == 6
    assert "CLIP2," in one[0] and "CLIP8," in one[1]


def whole_run(root, out, *assignments):
    try:
        run(changed(make_settings(root, out), *assignments), without_dropout)
    except UserError as error:
        return str(error)


def test_a_whole_run_of_two_processes_is_that_of_one(clips, tmp_path):
    alone, together = tmp_path / "alone", tmp_path / "together"
    whole_run(clips, alone)
    assert in_processes(2, whole_run, clips, together, "sync_bn=true") == [None, None]
    one, other = weights(alone), weights(together)
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-4, msg=name)
    kinds = [[s.get("_type") for s in json_stats(folder)] for folder in (alone, together)]
    assert kinds[0] == kinds[1]  # the main process alone writes


def test_bad_clips_of_both_shares_are_listed_once(clips, tmp_path):
    root = tmp_path / "broken"
    shutil.copytree(clips, root)
    bad = ["TRAIN03", "TRAIN11", "TRAIN12", "VAL05"]
    for clip_id in bad:
        for frame in (root / "image" / clip_id).iterdir():
            frame.write_bytes(b"no image")
    said = in_processes(2, whole_run, root, tmp_path / "out", "data.max_bad_fraction=0.2")
    assert said[0].startswith("1 of 9 test clips could not be read")
    with (tmp_path / "out" / "bad_clips.csv").open() as file:
        assert sorted(row["clip_id"] for row in csv.DictReader(file)) == bad
    log = (tmp_path / "out" / "stdout.log").read_text()
    assert [log.count(f"left out: clip {clip_id}: ") for clip_id in bad] == [1] * 4


def test_too_many_bad_clips_of_both_shares_together_end_the_run_in_both(clips, tmp_path):
    root = tmp_path / "broken"
    shutil.copytree(clips, root)
    for clip_id in ("TRAIN03", "TRAIN11", "TRAIN12", "TRAIN13"):
        for frame in (root / "image" / clip_id).iterdir():
            frame.write_bytes(b"no image")
    one, other = in_processes(2, whole_run, root, tmp_path / "out", "data.max_bad_fraction=0.17")
    assert "4 of 18 clips of " in one and "4 of 18 clips of " in other


def gradient_sums(shares):
    loss = losses.build("EQLv2", class_counts=[9] * NUM_CLASSES)
    rng = np.random.default_rng(0)
    logits = torch.from_numpy(rng.normal(size=(7, NUM_CLASSES)).astype(np.float32))
    targets = torch.from_numpy(rng.integers(0, 2, (7, NUM_CLASSES)).astype(np.float32))
    rank = launched.rank()
    share = slice(sum(shares[:rank]), sum(shares[: rank + 1]))
    for _ in range(3):
        loss(logits[share], targets[share])
    return {name: value.tolist() for name, value in loss.state_dict().items()}


def test_the_gradient_sums_of_eqlv2_are_those_of_all_processes():
    (alone,) = in_processes(1, gradient_sums, [7])
    for shares in ([3, 4], [1, 4, 2]):
        for found in in_processes(len(shares), gradient_sums, shares):
            for name, values in alone.items():
                assert found[name] == pytest.approx(values, rel=1e-5), name

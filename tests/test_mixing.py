"""Mixed clips: the formulas written out, and the same step the same mix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from actionrec.engine.mixing import Mixing, framestack, mixup
from actionrec.metrics.average_precision import average_precision


def batch(num_clips=5, num_frames=8, num_classes=4):
    """The grey level of a frame tells its clip and number: 10 n + t."""
    level = 10 * torch.arange(num_clips)[:, None] + torch.arange(num_frames)
    frames = level[:, :, None, None, None].expand(-1, -1, 2, 2, 3).to(torch.uint8)
    targets = torch.eye(num_classes)[torch.arange(num_clips) % num_classes].clone()
    targets[0, 1] = 1
    return frames, targets


def partners(num_clips):
    torch.manual_seed(3)
    return torch.randperm(num_clips)


def test_mixup_is_a_weighted_mean_of_clips_and_of_labels():
    frames, targets = batch()
    torch.manual_seed(3)
    mixed, labels = mixup(frames, targets, alpha=0.4)
    torch.manual_seed(3)
    lam = torch.distributions.Beta(0.4, 0.4).sample()
    partner = torch.randperm(5)
    torch.testing.assert_close(mixed, lam * frames.float() + (1 - lam) * frames[partner].float())
    torch.testing.assert_close(labels, lam * targets + (1 - lam) * targets[partner])
    assert mixed.dtype == torch.float32 and frames.dtype == torch.uint8
    assert labels.min() >= 0 and labels.max() <= 1


def test_framestack_takes_fewer_frames_of_what_is_known_better():
    frames, targets = batch()
    ap = torch.tensor([0.9, 0.3, 0.1, 0.0])
    torch.manual_seed(3)
    mixed, labels = framestack(frames, targets, ap)
    for clip, other in enumerate(partners(5).tolist()):
        known, of_other = ((targets[n] * ap).sum() / 4 for n in (clip, other))
        beta = float(known / (known + of_other)) if known + of_other else 0.5
        given = int(beta * 8)
        from_other = 10 * other + np.linspace(0, 7, given).astype(int)
        from_clip = 10 * clip + np.linspace(0, 7, 8 - given).astype(int)
        assert mixed[clip, :, 0, 0, 0].tolist() == [*from_other, *from_clip]
        expected = (1 - beta) * targets[clip] + beta * targets[other]
        torch.testing.assert_close(labels[clip], expected)


def test_framestack_begins_with_halves():
    frames, targets = batch()
    torch.manual_seed(3)
    mixed, _ = framestack(frames, targets, torch.zeros(4))
    for clip, other in enumerate(partners(5).tolist()):
        assert mixed[clip, :4, 0, 0, 0].tolist() == [10 * other + t for t in (0, 2, 4, 7)]
    assert mixed.dtype == torch.uint8


def test_framestack_measures_the_classes_by_the_last_epochs_scores():
    rng = np.random.default_rng(0)
    targets = (rng.random((9, 4)) < 0.4).astype(np.float32)
    targets[:, 3] = 0
    mixing = Mixing("framestack", 1.0, targets)
    logits = torch.from_numpy(rng.normal(size=(9, 4)))
    for clips in ([0, 4, 2], [8, 1, 3], [5, 6]):  # clip 7 was in no full batch
        mixing.note(torch.tensor(clips), logits[clips])
    restored = Mixing("framestack", 1.0, targets)
    restored.load_state_dict(mixing.state_dict())
    seen = [n for n in range(9) if n != 7]
    expected = np.nan_to_num(average_precision(logits.sigmoid()[seen].numpy(), targets[seen]))
    for each in (mixing, restored):
        each.end_epoch()
        np.testing.assert_allclose(each.class_ap, expected, rtol=1e-6)
        assert not each.state_dict()["sums"].any()


@pytest.mark.parametrize("kind", ["mixup", "framestack"])
def test_the_same_step_is_the_same_mix(kind):
    frames, targets = batch()
    mixing = Mixing(kind, 0.4, targets.numpy())
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(mixing.mix(frames, targets)[0])
    assert torch.equal(results[0], results[1]) and not torch.equal(results[0], results[2])


def test_a_clip_that_is_drawn_twice_counts_with_the_mean_of_its_scores():
    targets = np.eye(2, dtype=np.float32)
    mixing = Mixing("framestack", 1.0, targets)
    logits = torch.tensor([[2.0, -2.0], [-1.0, 1.0]])
    mixing.note(torch.tensor([0, 0]), logits)
    expected = [*logits.sigmoid().sum(0).tolist(), 2.0]
    assert mixing.state_dict()["sums"][0].tolist() == pytest.approx(expected)


def test_mixup_keeps_nothing():
    frames, targets = batch()
    mixing = Mixing("mixup", 1.0, targets.numpy())
    mixing.note(torch.arange(5), targets)
    mixing.end_epoch()
    assert mixing.state_dict() == {}

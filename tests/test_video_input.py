"""From frames to the pathways of a model, against the arithmetic written out."""

import numpy as np
import pytest
import torch

from actionrec.models.video_input import VideoInput
from actionrec.types import InputSettings

MEAN, STD = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)


@pytest.fixture
def frames():
    return torch.randint(0, 256, (2, 8, 5, 6, 3), dtype=torch.uint8)


def written_out(frames, bgr):
    """(N, 3, T, H, W), one channel at a time: the value of channel c is normalised with c's own."""
    source = np.asarray(frames).astype(np.float64)
    planes = [(source[..., c] / 255 - MEAN[c]) / STD[c] for c in range(3)]
    return torch.tensor(np.stack(planes[::-1] if bgr else planes, axis=1), dtype=torch.float32)


@pytest.mark.parametrize("bgr", [False, True])
def test_one_pathway_equals_the_written_arithmetic(frames, bgr):
    pathways = VideoInput(InputSettings(mean=MEAN, std=STD, bgr=bgr))(frames)
    assert len(pathways) == 1
    assert pathways[0].is_contiguous()
    torch.testing.assert_close(pathways[0], written_out(frames, bgr))


@pytest.mark.parametrize("alpha", [None, 4])
def test_float32_grey_levels_are_taken_as_uint8_is(frames, alpha):
    module = VideoInput(InputSettings(mean=MEAN, std=STD, bgr=True, alpha=alpha))
    for one, two in zip(module(frames), module(frames.float()), strict=True):
        torch.testing.assert_close(one, two, rtol=0, atol=0)
    between = module(frames.float() + 0.25)[-1]
    torch.testing.assert_close(between, written_out(frames.double() + 0.25, bgr=True))


@pytest.mark.parametrize(
    ("num_frames", "alpha", "rows"),
    [(8, 4, [0, 7]), (32, 4, [0, 4, 8, 13, 17, 22, 26, 31]), (8, 8, [0]), (4, 1, [0, 1, 2, 3])],
)
def test_the_slow_pathway_is_evenly_spaced_with_both_ends(num_frames, alpha, rows):
    frames = torch.randint(0, 256, (1, num_frames, 4, 4, 3), dtype=torch.uint8)
    slow, fast = VideoInput(InputSettings(alpha=alpha))(frames)
    assert fast.shape == (1, 3, num_frames, 4, 4)
    torch.testing.assert_close(slow, fast[:, :, rows], rtol=0, atol=0)


def test_it_adds_nothing_to_a_checkpoint_and_follows_the_model_to_its_device():
    module = VideoInput(InputSettings())
    assert not module.state_dict()
    assert module.to("meta").mean.device.type == "meta"

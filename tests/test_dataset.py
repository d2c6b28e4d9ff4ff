"""From a table of clips to batches: labels, repeats, views, and errors that cross processes."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from clip_files import read_counter, settings, table, write_images, write_video

from actionrec.data import batching
from actionrec.data.annotations import read_clips
from actionrec.data.bad_clips import BadClips
from actionrec.data.batching import EpochBatches, train_loader, val_loader, view_batches
from actionrec.data.dataset import TestDataset, TrainDataset, ValDataset
from actionrec.data.decoding import open_source
from actionrec.data.sampling import Linspace, Stride
from actionrec.data.views import Cutter, centre_window, whole_window
from actionrec.errors import SecurityError, UserError
from actionrec.randomness import epoch_order
from actionrec.types import Batch, LoaderSettings

NUM_CLIP_FRAMES = 40


@pytest.fixture
def options(tmp_path):
    return dataclasses.replace(
        settings(tmp_path),
        num_classes=NUM_CLIP_FRAMES,
        num_frames=4,
        sampling_rate=3,
        train_jitter_px=(48, 56),
        train_crop_px=32,
        test_crop_px=24,
        num_views=3,
        num_crops=3,
        random_flip=False,
    )


@pytest.fixture
def clips(tmp_path):
    """Five clips; frame k of each carries the one label k."""
    rows = table(NUM_CLIP_FRAMES, ids=["a", "b", "c", "d", "e"])
    write_images(tmp_path / "image", rows)
    lines = ["original_vido_id video_id frame_id path labels"]
    for clip, clip_id in enumerate(rows.ids):
        paths = rows.frame_paths(clip, range(NUM_CLIP_FRAMES))
        lines += [f"{clip_id} {clip} {k + 1} {path} {k}" for k, path in enumerate(paths)]
    (tmp_path / "train.csv").write_text("\n".join(lines) + "\n")
    return read_clips(tmp_path / "train.csv", num_classes=NUM_CLIP_FRAMES)


@pytest.fixture
def train_set(clips, options):
    return TrainDataset(clips, open_source(clips, options), options, seed=3)


def loader_settings(num_workers=0, **changes):
    return LoaderSettings(train_batch=2, test_batch=2, num_workers=num_workers, **changes)


def test_a_train_sample_has_the_labels_of_all_frames_from_first_to_last(train_set):
    starts = set()
    for epoch in range(8):
        frames, targets, clip = train_set[epoch, 1]
        assert clip == 1
        assert (frames.shape, frames.dtype) == ((4, 32, 32, 3), np.uint8)
        assert (targets.shape, targets.dtype) == ((NUM_CLIP_FRAMES,), np.float32)
        labels = np.flatnonzero(targets)
        np.testing.assert_array_equal(labels, np.arange(labels[0], labels[0] + 10))
        starts.add(labels[0])
    assert len(starts) > 1


def test_the_same_epoch_and_clip_give_the_same_sample(train_set, clips, options):
    again = TrainDataset(clips, open_source(clips, options), options, seed=3)
    other_seed = TrainDataset(clips, open_source(clips, options), options, seed=4)
    first = train_set[5, 2]
    train_set[6, 2]
    for one, two in zip(first, again[5, 2], strict=True):
        np.testing.assert_array_equal(one, two)
    assert any((other_seed[5, c].frames != train_set[5, c].frames).any() for c in range(5))


def test_validation_is_the_centre_with_the_labels_of_the_whole_clip(clips, options):
    source = open_source(clips, options)
    frames, targets, clip = ValDataset(clips, source, options)[3]
    wanted = Stride(4, 3).spread(NUM_CLIP_FRAMES, 0, 1)
    # Frames are 48 high and 64 wide, and the short side of validation is 48.
    np.testing.assert_array_equal(frames, source.read(3, wanted)[:, 8:40, 16:48])
    assert (clip, targets.sum()) == (3, NUM_CLIP_FRAMES)


@pytest.mark.parametrize("resample", ["fast", "exact"])
@pytest.mark.parametrize("kind", ["image", "video"])
def test_views_equal_the_ones_cut_one_by_one(tmp_path, options, kind, resample):
    options = dataclasses.replace(options, resample=resample)
    clips = table(NUM_CLIP_FRAMES, ids=["a"])
    if kind == "image":
        write_images(tmp_path / "image", clips)
    else:
        write_video(tmp_path / "video" / "a.mp4", times=[20 * k for k in range(NUM_CLIP_FRAMES)])
    source = open_source(clips, options)
    views = TestDataset(clips, source, options)[0]
    assert len(views.bank) == len(np.unique([Stride(4, 3).spread(40, v, 3) for v in range(3)]))
    batches = list(view_batches(views, 4, "cpu"))
    assert [len(frames) for frames, _ in batches] == [4, 4, 1]
    assert torch.cat([numbers for _, numbers in batches]).tolist() == list(range(9))
    cut = torch.cat([frames for frames, _ in batches]).numpy()
    for number in range(9):
        scaled = Cutter(lambda h, w: whole_window(h, w, 24), resample)
        frames = source.read(0, Stride(4, 3).spread(40, number // 3, 3), each=scaled)
        left = [0, 4, 8][number % 3]  # 24 of the 32 pixels that 64 become
        expected = frames[:, :, left : left + 24]
        np.testing.assert_array_equal(cut[number], expected)


def test_views_are_cut_on_the_device(clips, options):
    views = TestDataset(clips, open_source(clips, options), options)[0]
    frames, numbers = next(view_batches(views, 9, "meta"))
    assert (frames.device.type, numbers.device.type) == ("meta", "cpu")


def test_a_bank_holds_what_the_views_show_and_no_more(tmp_path, options):
    """Thirty seconds: ten views of 32 frames that share none, of 900."""
    clips = table(900, ids=["a"])
    path = write_video(tmp_path / "video" / "a.mp4", times=[20 * k for k in range(900)])
    assert path.is_file()
    long = dataclasses.replace(options, num_frames=32, sampling_rate=2, num_views=10)
    source = open_source(clips, long)
    for num_crops, resample, width, num_bytes in [(3, "fast", 32, 1), (1, "exact", 24, 4)]:
        changed = dataclasses.replace(long, num_crops=num_crops, resample=resample)
        bank = TestDataset(clips, source, changed)[0].bank
        assert bank.shape == (320, 24, width, 3)
        assert bank.nbytes == bank.size * num_bytes


def test_the_one_crop_of_a_bank_is_the_centre(clips, options):
    one = dataclasses.replace(options, num_crops=1)
    views = TestDataset(clips, open_source(clips, one), one)[0]
    centre = Cutter(lambda h, w: centre_window(h, w, 24, 24), "fast")
    expected = open_source(clips, one).read(0, Stride(4, 3).spread(40, 1, 3), each=centre)
    frames, _ = next(view_batches(views, 3, "cpu"))
    np.testing.assert_array_equal(frames[1].numpy(), expected)


def test_resampling_changes_no_draw(train_set, clips, options):
    exact = dataclasses.replace(options, resample="exact", random_flip=True)
    fast = dataclasses.replace(exact, resample="fast")
    source = open_source(clips, options)
    for epoch in range(5):
        one, two = (TrainDataset(clips, source, o, seed=3)[epoch, 0] for o in (exact, fast))
        assert (one.frames.dtype, two.frames.dtype) == (np.float32, np.uint8)
        assert np.abs(one.frames - two.frames).max() <= 0.51
        np.testing.assert_array_equal(one.targets, two.targets)


def test_linspace_holds_for_training_validation_and_test(clips, options):
    spaced = dataclasses.replace(options, frame_sampling="linspace")
    source, places = open_source(clips, spaced), Linspace(4, 3)
    labels = np.flatnonzero(TrainDataset(clips, source, spaced, seed=0)[0, 0].targets)
    assert len(labels) == 12  # 4 x 3 frames, where a stride of 3 spans 10
    centre = ValDataset(clips, source, spaced)[0].frames
    whole = source.read(0, places.spread(NUM_CLIP_FRAMES, 0, 1))
    np.testing.assert_array_equal(centre, whole[:, 8:40, 16:48])
    views = TestDataset(clips, source, spaced)[0]
    wanted = np.stack([places.spread(NUM_CLIP_FRAMES, view, 3) for view in range(3)])
    np.testing.assert_array_equal(np.unique(wanted)[views.view_frames], wanted)


def test_an_epoch_is_its_order_in_full_batches_and_can_start_later():
    order = EpochBatches(lambda epoch: epoch_order(1, epoch, 7), batch=2)
    order.set_epoch(4)
    batches = list(order)
    assert len(order) == len(batches) == 3
    assert sum(batches, []) == [(4, clip, 0) for clip in epoch_order(1, 4, 7)[:6]]
    order.set_epoch(4, start_step=2)
    assert len(order) == 1
    assert list(order) == batches[2:]


def test_more_clips_in_a_batch_than_there_are_is_an_error():
    with pytest.raises(UserError, match="TRAIN.BATCH_SIZE 8 is more than the 7 training clips"):
        EpochBatches(lambda epoch: epoch_order(0, epoch, 7), batch=8)


def batches_of_two_epochs(loader):
    for epoch in (0, 1):
        loader.set_epoch(epoch)
        yield from loader


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_workers_give_what_the_main_process_gives(train_set, start_method):
    alone = list(batches_of_two_epochs(train_loader(train_set, loader_settings())))
    loader = train_loader(train_set, loader_settings(num_workers=2))
    loader.multiprocessing_context = start_method
    together = list(batches_of_two_epochs(loader))
    assert len(alone) == len(together) == 4
    for one, two in zip(alone, together, strict=True):
        assert isinstance(two, Batch)
        assert (two.frames.dtype, two.targets.dtype) == (torch.uint8, torch.float32)
        assert two.clips.dtype == torch.int64
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_no_more_workers_than_cores_and_it_is_said_once(train_set, monkeypatch, caplog):
    monkeypatch.setattr(batching.launched, "num_cores", lambda: 2)
    batching._num_workers.cache_clear()
    caplog.set_level("INFO")
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # torch's, of too many workers
        loaders = [train_loader(train_set, loader_settings(num_workers=5)) for _ in range(2)]
        lowered = list(batches_of_two_epochs(loaders[0]))
    batching._num_workers.cache_clear()
    assert [loader.num_workers for loader in loaders] == [2, 2]
    assert caplog.messages == ["DATA_LOADER.NUM_WORKERS: 5, lowered to the 2 cores here"]
    alone = list(batches_of_two_epochs(train_loader(train_set, loader_settings())))
    for one, two in zip(alone, lowered, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_epoch_that_was_broken_off_leaves_nothing_to_the_next(train_set, num_workers):
    loader = train_loader(train_set, loader_settings(num_workers))
    next(iter(loader))
    loader.set_epoch(1)
    expected = [[clip for _, clip, _ in batch] for batch in loader.batch_sampler]
    assert [batch.clips.tolist() for batch in loader] == expected


def test_a_loader_leaves_torchs_own_generator_alone(train_set):
    loader = train_loader(train_set, loader_settings())
    before = torch.get_rng_state()
    list(loader)
    assert torch.equal(before, torch.get_rng_state())


def test_validation_batches_come_in_order_and_keep_the_rest(clips, options):
    loader = val_loader(ValDataset(clips, open_source(clips, options), options), loader_settings())
    assert [batch.clips.tolist() for batch in loader] == [[0, 1], [2, 3], [4]]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_test_loader_gives_each_clip_once(clips, options, num_workers):
    dataset = TestDataset(clips, open_source(clips, options), options)
    views = list(batching.test_loader(dataset, loader_settings(num_workers)))
    assert [clip.clip for clip in views] == [0, 1, 2, 3, 4]
    np.testing.assert_array_equal(views[2].bank, dataset[2].bank)
    assert read_counter(views[2].bank[0]) == 0


def error_of(loader):
    """The error that ends a pass, without the frames that would keep the workers waiting."""
    try:
        list(loader)
    except UserError as error:
        return error.with_traceback(None)
    return None


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_error_in_a_worker_comes_out_as_it_was_raised(tmp_path, clips, options, num_workers):
    path = tmp_path / "image" / "c" / "c_t000016.jpg"
    path.write_bytes(b"")
    source = open_source(clips, options)
    val = val_loader(ValDataset(clips, source, options), loader_settings(num_workers))
    bad = BadClips("skip", 0.0, tmp_path / "bad_clips.csv")
    tested = TestDataset(clips, source, options)
    test = batching.test_loader(tested, loader_settings(num_workers), bad)
    said = f"clip c: {path} is empty; extract this frame again"
    assert str(error_of(val)) == said
    assert [item is None for item in test].count(True) == 1  # goes on
    assert list(bad.reasons.values()) == [said]
    path.unlink()
    path.symlink_to("/dev/zero")
    assert isinstance(error_of(val), SecurityError)

"""What a loader holds does not grow with the clips that it has given."""

from __future__ import annotations

import gc
from dataclasses import replace

import cv2
import psutil
import pytest
from clip_files import counter_frame, settings, write_video

from actionrec.data.annotations import read_clips
from actionrec.data.batching import train_loader
from actionrec.data.dataset import TrainDataset
from actionrec.data.decoding import open_source
from actionrec.types import LoaderSettings

NUM_CLIPS, NUM_FRAMES = 2000, 8
MARGIN_MIB = 2  # a process; 1 KiB kept of each clip that a worker reads in two epochs


def write_clips(folder) -> None:
    """Of each clip a folder of images and a video, the videos one file with as many names."""
    lines = ["original_vido_id video_id frame_id path labels"]
    video = write_video(folder / "video" / "one.mp4", times=[20 * k for k in range(NUM_FRAMES)])
    for clip in range(NUM_CLIPS):
        clip_id = f"CLIP{clip:04d}"
        (folder / "image" / clip_id).mkdir(parents=True)
        for number in range(1, NUM_FRAMES + 1):
            path = f"{clip_id}/{clip_id}_t{number:06d}.jpg"
            cv2.imwrite(str(folder / "image" / path), counter_frame(number))
            lines.append(f"{clip_id} {clip} {number} {path} {clip % 3}")
        (folder / "video" / f"{clip_id}.mp4").hardlink_to(video)
    (folder / "train.csv").write_text("\n".join(lines) + "\n")


def private_mib() -> list[float]:
    """Of this process and its workers, what would be free again without each."""
    gc.collect()
    this = psutil.Process()
    processes = [this, *sorted(this.children(), key=lambda worker: worker.pid)]
    return [process.memory_full_info().uss / 2**20 for process in processes]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["frames", "video"])
def test_three_epochs_of_two_thousand_clips_take_the_memory_of_one(tmp_path, capsys, source):
    write_clips(tmp_path)
    table = read_clips(tmp_path / "train.csv", num_classes=3)
    sizes = {"train_jitter_px": (48, 64), "train_crop_px": 32}
    data = replace(settings(tmp_path, source=source), **sizes)
    dataset = TrainDataset(table, open_source(table, data), data, seed=0)
    loader = train_loader(dataset, LoaderSettings(train_batch=8, test_batch=1, num_workers=2))
    after = []
    for epoch in range(3):
        loader.set_epoch(epoch)
        assert sum(len(batch.targets) for batch in loader) == NUM_CLIPS
        after.append(private_mib())
    with capsys.disabled():
        print(f"\n{source}, MiB after each epoch: {[[round(m, 1) for m in e] for e in after]}")
    assert all(len(processes) == 3 for processes in after)
    for first, last in zip(after[0], after[2], strict=True):
        assert last < first + MARGIN_MIB, after

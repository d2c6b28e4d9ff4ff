"""The sample data: one seed, one set of files, in Animal Kingdom's formats, with a long tail."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import av
import cv2
import numpy as np
import openpyxl
import pytest

from actionrec.data import demo
from actionrec.data.class_table import segment_of
from actionrec.data.demo_labels import (
    CLASSES,
    CUTS,
    FRAMES_RANGE,
    NUM_CLIPS,
    DemoClip,
    count_clips,
    plan_clips,
)
from actionrec.data.demo_scenes import HEIGHT, WIDTH, draw_clip
from actionrec.errors import UserError

SEEDS = [0, 1, 2]
OFFICIAL_TABLE = Path(__file__).resolve().parents[2] / "shared/data/animal_kingdom/df_action.xlsx"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sample") / "demo"
    assert demo.make_demo(out, clips_per_split=3)
    return out


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file, delimiter=" "))


def sheet_rows(path: Path) -> list[tuple]:
    return list(openpyxl.load_workbook(path)["AR_count"].iter_rows(values_only=True))


def files_of(out: Path, pattern: str) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob(pattern)}


def clip_with(*names: str, num_frames: int = 9) -> DemoClip:
    labels = tuple(label for label, shown in enumerate(CLASSES) if shown.name in names)
    return DemoClip("DEMOTEST", 0, "train", labels, num_frames)


def drawn(*names: str, num_frames: int = 9) -> np.ndarray:
    return draw_clip(clip_with(*names, num_frames=num_frames), np.random.default_rng(5))


@pytest.mark.parametrize("seed", SEEDS)
def test_every_class_is_in_as_many_clips_as_its_line_says(seed):
    shown = {split: Counter() for split in NUM_CLIPS}
    for clip in plan_clips(seed):
        shown[clip.split].update(clip.labels)
    for label, of_class in enumerate(CLASSES):
        assert shown["train"][label] == of_class.num_train
        assert shown["test"][label] == of_class.num_test >= 2


@pytest.mark.parametrize("seed", SEEDS)
def test_head_middle_and_tail_are_all_there_and_chance_is_low(seed):
    clips = plan_clips(seed)
    segments = Counter(segment_of(count, CUTS) for count in count_clips(clips))
    assert segments == {"head": 2, "middle": 6, "tail": 4}
    test = [clip for clip in clips if clip.split == "test"]
    prevalence = sum(len(clip.labels) for clip in test) / len(test) / len(CLASSES)
    assert prevalence < 0.2


@pytest.mark.parametrize("seed", SEEDS)
def test_clips_have_one_movement_a_unique_id_and_sorted_labels(seed):
    clips = plan_clips(seed)
    assert Counter(clip.split for clip in clips) == NUM_CLIPS
    assert len({clip.clip_id for clip in clips}) == len({clip.number for clip in clips}) == 100
    for clip in clips:
        groups = [CLASSES[label].group for label in clip.labels]
        assert groups.count("movement") == 1 and len(set(groups)) == len(groups)
        assert list(clip.labels) == sorted(clip.labels)
        assert FRAMES_RANGE[0] <= clip.num_frames <= FRAMES_RANGE[1]


def test_the_names_are_unique_and_in_alphabetical_order():
    names = [shown.name for shown in CLASSES]
    assert names == sorted(set(names))


def test_the_plan_follows_the_seed():
    assert plan_clips(3) == plan_clips(3)
    assert plan_clips(3) != plan_clips(4)


def test_the_csvs_are_in_the_six_column_format(made):
    ids = {}
    for name, split in (("train", "train"), ("val", "test")):
        lines = (made / f"annot/{name}.csv").read_text().splitlines()
        assert lines[0] == "original_vido_id video_id frame_id path labels type"
        assert all(line.count(" ") == 5 and '"' not in line for line in lines)
        rows = rows_of(made / f"annot/{name}.csv")
        assert {row["type"] for row in rows} == {split}
        ids[name] = {(row["original_vido_id"], row["video_id"]) for row in rows}
        for row in rows:
            clip, number = row["original_vido_id"], int(row["frame_id"])
            assert row["path"] == f"{clip}/{clip}_t{number:06d}.jpg"
            assert all(0 <= int(label) < len(CLASSES) for label in row["labels"].split(","))
    assert len(ids["train"] | ids["val"]) == 6 and not ids["train"] & ids["val"]


def test_video_jpegs_and_csv_have_the_same_frames_and_pictures(made):
    rows = rows_of(made / "annot/train.csv") + rows_of(made / "annot/val.csv")
    for clip, num_frames in Counter(row["original_vido_id"] for row in rows).items():
        with av.open(str(made / f"video/{clip}.mp4")) as container:
            stream = container.streams.video[0]
            assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
            video = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        jpegs = sorted((made / "image" / clip).iterdir())
        assert len(video) == len(jpegs) == num_frames
        for t in (0, num_frames // 2, num_frames - 1):
            jpeg = cv2.imread(str(jpegs[t]))[..., ::-1]
            assert jpeg.shape == video[t].shape == (HEIGHT, WIDTH, 3)
            assert np.abs(jpeg.astype(float) - video[t]).mean() < 12


def test_the_class_table_counts_the_clips_of_the_train_csv(made):
    header, *table = sheet_rows(made / "annot/df_action.xlsx")
    labels = {row["original_vido_id"]: row["labels"] for row in rows_of(made / "annot/train.csv")}
    counts = Counter(int(label) for joined in labels.values() for label in joined.split(","))
    for label, row in enumerate(table):
        named = dict(zip(header, row, strict=True))
        assert named["index"] == label and named["action"] == CLASSES[label].name
        assert named["count"] == counts[label] and named["segment"] == segment_of(
            counts[label], CUTS
        )
    assert sorted(row[0] for row in table) == list(range(1, len(CLASSES) + 1))


def test_the_class_table_has_the_columns_of_the_official_one(made):
    if not OFFICIAL_TABLE.is_file():
        pytest.skip(f"no {OFFICIAL_TABLE.name} of Animal Kingdom beside the repository")
    ours, official = sheet_rows(made / "annot/df_action.xlsx"), sheet_rows(OFFICIAL_TABLE)
    assert ours[0] == official[0]
    assert [type(value) for value in ours[1]] == [type(value) for value in official[1]]


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(made, tmp_path):
    demo.make_demo(tmp_path / "again", clips_per_split=3)
    demo.make_demo(tmp_path / "other", seed=1, clips_per_split=3)
    for pattern in ("*.csv", "*.jpg", "*.mp4"):
        files = files_of(made, pattern)
        assert files and files_of(tmp_path / "again", pattern) == files
        assert files_of(tmp_path / "other", pattern) != files


def test_a_complete_folder_is_left_alone(tmp_path):
    out = tmp_path / "demo"
    assert demo.make_demo(out, clips_per_split=1)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert not demo.make_demo(out, clips_per_split=1)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_an_interrupted_run_is_completed_and_only_what_differs_is_written(tmp_path, monkeypatch):
    out = tmp_path / "demo"
    with monkeypatch.context() as patch:
        patch.setattr(demo, "encode_mp4", lambda frames: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            demo.make_demo(out, clips_per_split=1)
    assert not (out / "annot").exists()
    kept, changed = sorted(out.rglob("*.jpg"))[:2]
    whole, written_at = changed.read_bytes(), kept.stat().st_mtime_ns
    changed.write_bytes(whole[:100])
    assert demo.make_demo(out, clips_per_split=1)
    assert changed.read_bytes() == whole and kept.stat().st_mtime_ns == written_at
    assert not demo.make_demo(out, clips_per_split=1)
    assert not list(out.rglob("*.partial"))


def test_a_changed_label_is_noticed_and_put_right(tmp_path):
    out = tmp_path / "demo"
    demo.make_demo(out, clips_per_split=1)
    annotation = out / "annot/train.csv"
    right = annotation.read_text()
    annotation.write_text(right.replace(" train\n", " test\n"))
    assert demo.make_demo(out, clips_per_split=1)
    assert annotation.read_text() == right


def test_a_folder_of_the_users_own_is_refused_and_kept(tmp_path, capsys):
    (tmp_path / "annot").mkdir()
    (tmp_path / "annot/train.csv").write_text("mine")
    with pytest.raises(UserError, match="not made by this command"):
        demo.make_demo(tmp_path)
    assert demo.main(["--out", str(tmp_path)]) == UserError.exit_code
    assert capsys.readouterr().err.count("\n") == 1
    assert files_of(tmp_path, "*.csv") == {"annot/train.csv": b"mine"}


def test_a_path_that_is_a_file_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        demo.make_demo(tmp_path / "file")


def test_the_stamp_says_what_was_made(made):
    stamp = json.loads((made / "demo.json").read_bytes())
    assert (stamp["seed"], stamp["clips"], stamp["version"]) == (0, 6, demo.VERSION)


@pytest.mark.parametrize("coat, channel", [("Red Coat", 0), ("Blue Coat", 2)])
def test_a_coat_adds_its_colour_to_the_picture(coat, channel):
    others = [c for c in range(3) if c != channel]
    excess = drawn(coat, "Standing").astype(int)
    plain = drawn("Standing").astype(int)
    vivid = [(f[..., channel] - f[..., others].max(-1) > 90).mean() for f in (excess, plain)]
    assert vivid[0] > 0.02 and vivid[1] < 0.001


def test_night_is_dark_and_a_flash_comes_and_goes():
    assert drawn("Standing", "At Night").mean() < 0.5 * drawn("Standing").mean()
    brightness = drawn("Standing", "Flashing", num_frames=32).mean(axis=(1, 2, 3))
    lit = brightness > (brightness.min() + brightness.max()) / 2
    assert lit.sum() == 16 and brightness.max() > 1.1 * brightness.min()


def test_standing_is_still_and_a_walk_moves_the_way_it_is_called():
    still = drawn("Standing", "Red Coat").astype(float)
    assert np.abs(still[8] - still[0]).max() < 12  # only the noise of the camera
    for name, direction in (("Walking Left", -1), ("Walking Right", 1)):
        red = drawn(name, "Red Coat").astype(float)
        mask = (red[..., 0] - red[..., 1:].max(-1) > 90).sum(axis=1).astype(float)
        matches = {s: (np.roll(mask[0], s) * mask[8]).sum() for s in range(-24, 25)}
        assert np.sign(max(matches, key=matches.get)) == direction


def test_an_approaching_animal_grows():
    red = drawn("Approaching", "Red Coat", num_frames=60).astype(int)
    area = (red[..., 0] - red[..., 1:].max(-1) > 90).sum(axis=(1, 2))
    assert area[-1] > 2 * area[0]

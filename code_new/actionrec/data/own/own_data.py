"""From a lab's videos and what was observed in them to clips, train.csv, val.csv, a class table."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from actionrec.atomic_file import atomic_file
from actionrec.data.class_table import ActionClass
from actionrec.data.frame_lists import in_videos
from actionrec.data.input_checks import AnnotationError, shown
from actionrec.data.make_annotations import Made, check_free, write_annotations
from actionrec.data.metadata import Metadata, MetadataClip
from actionrec.data.own.boxes import read_boxes
from actionrec.data.own.clip_plan import CutSettings, VideoPlan, plan_videos
from actionrec.data.own.cut_clips import cut_clips
from actionrec.data.own.events import Event, read_events
from actionrec.data.own.name_lists import read_names
from actionrec.data.own.source_videos import UnusableVideo, VideoFolder
from actionrec.data.own.video_split import choose_validation
from actionrec.errors import first_few
from actionrec.progress import Progress

MISSING_VIDEOS = "missing_videos.txt"
GROUPS = "groups.csv"  # which clips are of one video, for a dev split


@dataclass(frozen=True)
class OwnDataSettings:
    """What the user may choose; `subjects` empty: all of them."""

    format: str | None = None
    subjects: tuple[str, ...] = ()
    classes: Path | None = None
    boxes: Path | None = None
    val_fraction: float = 0.2
    val_videos: Path | None = None
    overwrite: bool = False


@dataclass(frozen=True)
class OwnData:
    """What came out: the annotation, the classes, what cannot be used, and remarks."""

    made: Made
    classes: tuple[str, ...]
    unusable: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every video and every clip could be used."""
        return not self.unusable and not self.made.missing


def make_own_data(
    event_files: Sequence[Path],
    videos: Path,
    out: Path,
    cut: CutSettings,
    settings: OwnDataSettings,
) -> OwnData:
    """Write `out`/video/<clip id>.mp4 and `out`/annot; clips that are there are not cut again.

    Raises AnnotationError for what the user has to mend; nothing is written then.
    """
    check_free(out / "annot", None, settings.overwrite)
    folder = VideoFolder(videos)
    events = [e for path in event_files for e in read_events(path, settings.format)]
    events = _of_subjects(events, settings.subjects)
    if cut.background in {event.behaviour for event in events}:
        raise AnnotationError(
            f"--background {shown(cut.background)}: is a behaviour that is observed; take another "
            "name"
        )
    boxes = read_boxes(settings.boxes) if settings.boxes else None
    plans, unusable = plan_videos(events, folder, cut, boxes)
    if not plans:
        first = f"; first: {unusable[0]}" if unusable else ""
        raise AnnotationError(f"no clip shows a behaviour{first}")
    classes, notes = _choose_classes(plans, settings.classes, cut)
    notes += _never_shown(events, plans)
    plans = [plan.with_behaviours(classes) for plan in plans]
    plans = [plan for plan in plans if plan.clips]
    is_val = _choose_split(plans, classes, folder, settings)
    try:
        (out / "video").mkdir(parents=True, exist_ok=True)
        unusable += _cut(plans, out / "video", cut.short_side_px)
        _write_list(out / MISSING_VIDEOS, unusable)
    except OSError as error:
        raise AnnotationError(f"--out {out}: cannot be written ({error.strerror})") from None
    labels = {name: label for label, name in enumerate(classes)}
    rows = [
        MetadataClip(
            clip.cut.clip_id, "test" if val else "train", tuple(labels[b] for b in clip.behaviours)
        )
        for plan, val in zip(plans, is_val, strict=True)
        for clip in plan.clips
    ]
    read = Metadata(tuple(rows), tuple(ActionClass(name) for name in classes), ())
    made = write_annotations(
        read, first_few(event_files, 3), out / "annot", in_videos(out / "video")
    )
    _write_groups(out / "annot" / GROUPS, plans)
    notes += _rate_note(plans)
    return OwnData(made, classes, tuple(unusable), tuple(notes))


def _of_subjects(events: list[Event], subjects: Sequence[str]) -> list[Event]:
    if not subjects:
        return events
    known = sorted({event.subject for event in events})
    for name in subjects:
        if name not in known:
            raise AnnotationError(
                f"--subjects {shown(name)}: there is none of this name, only "
                f"{first_few([shown(k) for k in known])}"
            )
    return [event for event in events if event.subject in subjects]


def _choose_classes(
    plans: list[VideoPlan], file: Path | None, cut: CutSettings
) -> tuple[tuple[str, ...], list[str]]:
    """The classes: those of the file in its order, else all behaviours by name. And remarks."""
    found = Counter(b for plan in plans for clip in plan.clips for b in clip.behaviours)
    notes = []
    by_folded: dict[str, list[str]] = {}
    for name in sorted(found):
        by_folded.setdefault(name.casefold(), []).append(name)
    for names in by_folded.values():
        if len(names) > 1:
            notes.append(f"{' and '.join(map(shown, names))} are two classes; spell them alike")
    if file is None:
        return tuple(sorted(found)), notes
    classes = tuple(name for _, name in read_names(file))
    if cut.background and cut.background not in classes:
        classes += (cut.background,)
    left_out = [f"{shown(b)} ({n} clips)" for b, n in sorted(found.items()) if b not in classes]
    if left_out:
        notes.append(f"not in {file}, so left out: {first_few(left_out)}")
    if not found.keys() & set(classes):
        raise AnnotationError(
            f"--classes {file}: none of its {len(classes)} names is observed; observed are "
            f"{first_few([shown(b) for b in sorted(found)])}"
        )
    return classes, notes


def _never_shown(events: list[Event], plans: list[VideoPlan]) -> list[str]:
    shown_in_clips = {b for plan in plans for clip in plan.clips for b in clip.behaviours}
    missing = sorted({event.behaviour for event in events} - shown_in_clips)
    names = first_few([shown(name) for name in missing])
    return [f"observed, but no clip carries it: {names}"] if missing else []


def _choose_split(
    plans: list[VideoPlan], classes: Sequence[str], folder: VideoFolder, settings: OwnDataSettings
) -> list[bool]:
    """For each video, whether it is for validation."""
    if settings.val_videos:
        named = set()
        for where, name in read_names(settings.val_videos):
            try:
                named.add(folder.find(name, where))
            except UnusableVideo as error:
                raise AnnotationError(f"{error}; correct its name") from None
        is_val = [plan.source.path in named for plan in plans]
    else:
        counts = np.array(
            [[sum(c in clip.behaviours for clip in p.clips) for c in classes] for p in plans]
        )
        is_val = choose_validation(counts, settings.val_fraction).tolist()
    if all(is_val) or not any(is_val):
        option = f"--val-videos {settings.val_videos}" if settings.val_videos else "--val-fraction"
        raise AnnotationError(
            f"{option}: {sum(is_val)} of {len(plans)} videos with clips are for validation, so one "
            "side is empty; training and validation need a video each (split a single one in two)"
        )
    return is_val


def _cut(plans: list[VideoPlan], folder: Path, short_side_px: int) -> list[str]:
    """Cut all clips; a line for each video that breaks off."""
    for unfinished in folder.glob(".*.partial"):  # of a run that was killed
        unfinished.unlink()
    broken = []
    with Progress(sum(len(plan.clips) for plan in plans), "cutting", "clip") as progress:
        for plan in plans:
            cuts = [clip.cut for clip in plan.clips]
            try:
                cut_clips(
                    plan.source, cuts, folder, short_side_px=short_side_px, done=progress.update
                )
            except UnusableVideo as error:
                broken.append(str(error))
    return broken


def _write_list(path: Path, lines: Sequence[str]) -> None:
    if lines:
        with atomic_file(path) as file:
            file.write("".join(f"{line}\n" for line in lines).encode())
    else:
        path.unlink(missing_ok=True)


def _write_groups(path: Path, plans: list[VideoPlan]) -> None:
    rows = [(c.cut.clip_id, plan.source.path.as_posix()) for plan in plans for c in plan.clips]
    text = io.StringIO(newline="")
    csv.writer(text).writerows([("clip_id", "group"), *rows])
    with atomic_file(path) as file:
        file.write(text.getvalue().encode())


def _rate_note(plans: list[VideoPlan]) -> list[str]:
    rates = sorted({round(float(plan.source.rate)) for plan in plans})
    if len(rates) < 2:
        return []
    return [
        f"the videos have {first_few(rates)} frames a second: DATA.SAMPLING_RATE counts frames, so "
        "one view spans more time in a slower video; convert them to one rate if that matters"
    ]

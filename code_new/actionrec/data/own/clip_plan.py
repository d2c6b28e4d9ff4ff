"""Which clips are cut from which video, under which names, and what each shows."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from actionrec.data.input_checks import AnnotationError, shown
from actionrec.data.own.boxes import Track
from actionrec.data.own.cut_clips import Clip
from actionrec.data.own.events import Event
from actionrec.data.own.source_videos import SourceVideo, UnusableVideo, VideoFolder, probe
from actionrec.data.own.windows import Bout, behaviours_in, window_starts
from actionrec.errors import first_few
from actionrec.progress import Progress

# How much later than the video an event may stop: players round, and so do people.
TOLERANCE_SEC = 1.0
MAX_WHOLE_SEC = 600  # the longest clip that training opens
_MAX_STEM_CHARS, _MAX_TRACK_CHARS = 80, 24
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")

Boxes = Mapping[str, tuple[str, dict[str, Track]]]


@dataclass(frozen=True)
class CutSettings:
    """How videos become clips. background: the class of clips without a behaviour; "" drops them.

    short_side_px: larger pictures are scaled down to it; 0 keeps their size.
    """

    window_sec: float = 3.0
    stride_sec: float = 1.5
    min_overlap: float = 0.5
    background: str = ""
    short_side_px: int = 360


@dataclass(frozen=True)
class PlannedClip:
    """A clip and the behaviours that it carries, sorted."""

    cut: Clip
    behaviours: tuple[str, ...]


@dataclass(frozen=True)
class VideoPlan:
    """All clips of one video."""

    source: SourceVideo
    clips: tuple[PlannedClip, ...]

    def with_behaviours(self, classes: Sequence[str]) -> VideoPlan:
        """The same with these behaviours alone; clips that are left without any go."""
        kept = (
            replace(clip, behaviours=tuple(b for b in clip.behaviours if b in classes))
            for clip in self.clips
        )
        return replace(self, clips=tuple(clip for clip in kept if clip.behaviours))


def plan_videos(
    events: Iterable[Event], folder: VideoFolder, cut: CutSettings, boxes: Boxes | None = None
) -> tuple[list[VideoPlan], list[str]]:
    """The plan of each video that events name, by path, and a line for each that cannot be used.

    Raises AnnotationError for an event that cannot be in its video.
    """
    by_path, unusable = _by_video(events, folder)
    tracks = {folder.find(name, where): found for name, (where, found) in (boxes or {}).items()}
    stems = _stems(list(by_path), folder.root)
    plans = []
    for path in Progress(len(by_path), "reading", "video").over(sorted(by_path)):
        try:
            source = probe(path)
        except UnusableVideo as error:
            unusable.append(str(error))
            continue
        if all(event.start_sec is None for event in by_path[path]):
            window_sec = _whole(source, by_path[path][0].where)
        else:
            window_sec = cut.window_sec
        here = replace(cut, window_sec=window_sec)
        of_video = [_within(event, source) for event in by_path[path]]
        if boxes is None:
            clips = _windows(source, of_video, stems[path], here)
        else:
            clips = _of_tracks(source, of_video, stems[path], here, tracks.get(path, {}))
        plans.append(VideoPlan(source, tuple(clips)))
    return [plan for plan in plans if plan.clips], unusable


def _by_video(
    events: Iterable[Event], folder: VideoFolder
) -> tuple[dict[Path, list[Event]], list[str]]:
    found: dict[str, Path | None] = {}
    by_path: dict[Path, list[Event]] = defaultdict(list)
    unusable = []
    for event in events:
        if event.video not in found:
            try:
                found[event.video] = folder.find(event.video, event.where)
            except UnusableVideo as error:
                found[event.video] = None
                unusable.append(str(error))
        path = found[event.video]
        if path is not None:
            by_path[path].append(event)
    return by_path, unusable


def _whole(source: SourceVideo, where: str) -> float:
    """The window that takes the whole video, in seconds."""
    if source.duration_sec > MAX_WHOLE_SEC:
        raise AnnotationError(
            f"{where}: {source.path.name} has {source.duration_sec:.0f} s, but one clip at most "
            f"{MAX_WHOLE_SEC} s; write start and stop of what it shows"
        )
    return source.duration_sec


def _within(event: Event, source: SourceVideo) -> Event:
    """The event with its times inside the video."""
    end = source.duration_sec
    if event.start_sec is None or event.stop_sec is None:
        return replace(event, start_sec=0.0, stop_sec=end)
    late = "starts" if event.start_sec >= end + TOLERANCE_SEC else "stops"
    if event.start_sec >= end + TOLERANCE_SEC or event.stop_sec > end + TOLERANCE_SEC:
        at = event.start_sec if late == "starts" else event.stop_sec
        raise AnnotationError(
            f"{event.where}: {shown(event.behaviour)} {late} at {at:g} s, but "
            f"{source.path.name} ends at {end:.1f} s; is it the right video, and are the times "
            "seconds from its beginning?"
        )
    last = float(source.times_sec[-1])
    return replace(event, start_sec=min(event.start_sec, last), stop_sec=min(event.stop_sec, end))


def _windows(
    source: SourceVideo, events: Sequence[Event], stem: str, cut: CutSettings
) -> Iterator[PlannedClip]:
    end = source.duration_sec
    bouts: list[Bout] = [(e.start_sec or 0.0, e.stop_sec or 0.0, e.behaviour) for e in events]
    for start in window_starts(end, cut.window_sec, cut.stride_sec):
        stop = min(start + cut.window_sec, end)
        carried, touched = behaviours_in(start, stop, bouts, cut.min_overlap)
        if not touched and cut.background:
            carried = {cut.background}
        first, past = source.frame_range(start, stop)
        if carried and past > first:
            clip = Clip(f"{stem}_{round(1000 * start):07d}", first, past)
            yield PlannedClip(clip, tuple(sorted(carried)))


def _of_tracks(
    source: SourceVideo,
    events: Sequence[Event],
    stem: str,
    cut: CutSettings,
    tracks: Mapping[str, Track],
) -> Iterator[PlannedClip]:
    """The windows once more for each animal, with its own events."""
    for event in events:
        if event.subject not in tracks and not (event.subject == "" and len(tracks) == 1):
            known = first_few([shown(track) for track in tracks]) or "none"
            raise AnnotationError(
                f"{event.where}: subject {shown(event.subject)} has no boxes in "
                f"{source.path.name}; its tracks are {known}"
            )
    names = {track: _safe(track).replace("_", "-")[:_MAX_TRACK_CHARS] for track in tracks}
    if len(set(names.values())) < len(names):
        raise AnnotationError(
            f"{source.path.name}: tracks {first_few([shown(t) for t in tracks])} differ in "
            "signs or length alone, which clip ids cannot hold; rename them"
        )
    for track, track_boxes in tracks.items():
        own = [event for event in events if event.subject in (track, "")]
        for clip in _windows(source, own, stem, cut):
            box = track_boxes.around(clip.cut.first, clip.cut.end, cut.min_overlap)
            if box is not None:
                clip_id = f"{clip.cut.clip_id}_{names[track]}"
                yield replace(clip, cut=replace(clip.cut, clip_id=clip_id, box=box))


def _stems(paths: Sequence[Path], root: Path) -> dict[Path, str]:
    """What the clip ids of each video begin with; where two would be equal, a hash of its path."""
    safe = {path: _safe(path.stem) for path in paths}
    times = defaultdict(list)
    for path, stem in safe.items():
        times[stem.casefold()].append(path)
    for twins in times.values():
        if len(twins) > 1:
            for path in twins:
                name = path.relative_to(root).as_posix()
                safe[path] += f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return safe


def _safe(name: str) -> str:
    """Letters, digits, `_` and `-`, the first a letter or digit."""
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    safe = _UNSAFE.sub("-", ascii_name).strip("-_")[:_MAX_STEM_CHARS]
    return safe or hashlib.sha256(name.encode()).hexdigest()[:8]

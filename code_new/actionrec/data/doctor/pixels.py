"""The files of all clips, looked at in parallel: headers only, or every pixel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from actionrec.data.clip_table import ClipTable
from actionrec.data.doctor.clip_files import ClipFiles, FileSummary
from actionrec.data.doctor.extra_files import ExtraFiles, unnamed
from actionrec.data.doctor.findings import Report
from actionrec.data.doctor.folders import list_all
from actionrec.data.doctor.image_files import ImageChecker, look_at_header, look_at_pixels
from actionrec.data.doctor.in_parallel import in_parallel
from actionrec.data.doctor.video_files import VideoChecker
from actionrec.progress import Progress

Tables = dict[str, ClipTable]  # by split, `train` and `test`


class Checker(Protocol):
    """Knows the files of one split."""

    def check(self, clip: int) -> ClipFiles:
        """What the files of one clip have."""


def check_images(report: Report, tables: Tables, root: Path, *, decode: bool, workers: int) -> None:
    """Look at each frame below `root`, and at what else is there. Raises OSError."""
    look = look_at_pixels if decode else look_at_header
    checkers = {s: ImageChecker(table, root.resolve(), look) for s, table in tables.items()}
    extra = ExtraFiles()
    what = f"image {'pixels' if decode else 'headers'} of {root}"
    _check_all(report, tables, checkers, root, what, workers, extra)
    report.findings += extra.findings(root)


def check_videos(report: Report, tables: Tables, root: Path, *, decode: bool, workers: int) -> None:
    """Look at each clip's video in `root`, and at what else is there. Raises OSError."""
    checkers = {
        split: VideoChecker(table, root.resolve(), decode=decode) for split, table in tables.items()
    }
    what = f"video {'frames' if decode else 'headers'} of {root}"
    _check_all(report, tables, checkers, root, what, workers, ExtraFiles())
    named = {f"{clip_id}.mp4" for table in tables.values() for clip_id in table.ids}
    report.findings += unnamed(root, list_all(root) - named)


def _check_all(
    report: Report,
    tables: Tables,
    checkers: Mapping[str, Checker],
    root: Path,
    what: str,
    workers: int,
    extra: ExtraFiles,
) -> None:
    clips = [(split, clip) for split, table in tables.items() for clip in range(len(table))]
    results = in_parallel(lambda of: checkers[of[0]].check(of[1]), clips, workers)
    summary = FileSummary()
    progress = Progress(len(clips), what, "clip")
    for (split, clip), found in zip(clips, progress.over(results), strict=True):
        clip_id = tables[split].ids[clip]
        summary.add(clip_id, split, found)
        extra.add(clip_id, found.extra)
    report.facts[what] = {"clips": len(clips), "frames": summary.num_frames}
    if len(summary.sizes) == 1:
        report.facts[what]["all"] = f"{next(iter(summary.sizes))} px"
    report.findings += summary.findings(str(root), tables)

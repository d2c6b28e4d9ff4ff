"""What one clip's files can have, and the sum of it over all clips."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from actionrec.data.clip_table import ClipTable
from actionrec.data.doctor.findings import Finding, Severity
from actionrec.errors import SecurityError, UserError
from actionrec.types import DataSettings


class Kind(NamedTuple):
    """costs: a run cannot read the clip. what: after the number of clips."""

    severity: Severity
    costs: bool
    what: str
    fix: str


_GET = "copy or extract them again, or make an annotation without them: tools/make_annotations.py"
KINDS = {
    "missing": Kind(Severity.WARNING, True, "have no file", _GET),
    "short": Kind(Severity.WARNING, True, "have fewer frames than the annotation lists", _GET),
    "broken": Kind(Severity.WARNING, True, "have files that cannot be read", _GET),
    "mixed_sizes": Kind(Severity.WARNING, True, "have frames of several sizes", _GET),
    "refused": Kind(Severity.ERROR, True, "have files that are refused: a run ends there", ""),
    "colours": Kind(Severity.NOTE, False, "are not plain RGB; they are read as RGB", ""),
    "slightly_short": Kind(
        Severity.NOTE, False, "are a frame or two shorter than annotated: the last is repeated", ""
    ),
    "longer": Kind(
        Severity.NOTE, False, "have more frames than the annotation lists; the rest is not read", ""
    ),
}


class Extra(NamedTuple):
    """Files of a folder that no clip names: how many, and the first few."""

    total: int
    names: tuple[str, ...]


@dataclass
class ClipFiles:
    """What was found of one clip: problems by kind, each with a few words.

    sizes: (height, width) in pixels; num_frames: that are there; num_errors: of files; extra: by
    folder, of each folder that the clip has files in.
    """

    problems: dict[str, str] = field(default_factory=dict)
    sizes: frozenset[tuple[int, int]] = frozenset()
    num_frames: int = 0
    num_errors: int = 0
    extra: dict[str, Extra] = field(default_factory=dict)

    def add_error(self, error: UserError) -> None:
        """Count it; of each kind the first is kept."""
        self.num_errors += 1
        kind = "refused" if isinstance(error, SecurityError) else "broken"
        self.problems.setdefault(kind, str(error))


@dataclass
class FileSummary:
    """The same over the clips so far; problems and bad clips by kind and by split."""

    problems: dict[str, list[str]] = field(default_factory=dict)
    bad: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)
    num_frames: int = 0

    def add(self, clip_id: str, split: str, found: ClipFiles) -> None:
        """Count one clip."""
        for kind, said in found.problems.items():
            said = said.removeprefix(f"clip {clip_id}: ")
            if kind in ("broken", "refused") and found.num_errors > 1:
                said += f" (and {found.num_errors - 1} more)"
            self.problems.setdefault(kind, []).append(f"{clip_id}: {said}")
        self.bad[split] += any(KINDS[kind].costs for kind in found.problems)
        if len(found.sizes) == 1:
            height, width = next(iter(found.sizes))
            self.sizes[f"{width}x{height}"] += 1
        self.num_frames += found.num_frames

    def findings(self, root: str, tables: dict[str, ClipTable]) -> Iterator[Finding]:
        """One for each kind, and one for each split that has too many bad clips for a run."""
        num_clips = sum(map(len, tables.values()))
        for kind, about in KINDS.items():
            said = self.problems.get(kind)
            if said:
                what = f"{root}: {len(said):,} of {num_clips:,} clips {about.what}"
                yield Finding(about.severity, kind, what, len(said), tuple(said), about.fix)
        for split, table in tables.items():
            if self.bad[split] > DataSettings.max_bad_fraction * len(table):
                yield Finding(
                    Severity.ERROR,
                    "too_many_bad",
                    f"{root}: {self.bad[split]:,} of {len(table):,} clips of {table.source} cannot "
                    f"be read: a run ends at more than {DataSettings.max_bad_fraction:.1%}",
                    self.bad[split],
                    fix="mend them, make an annotation without them, or raise "
                    "DATA.MAX_BAD_FRACTION",
                )
        if len(self.sizes) > 1:
            yield Finding(
                Severity.NOTE,
                "several_sizes",
                f"{root}: clips have {len(self.sizes)} sizes; they are scaled alike",
                len(self.sizes),
                tuple(f"{size} in {count:,} clips" for size, count in self.sizes.most_common()),
            )

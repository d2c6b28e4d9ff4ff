"""What happens to a clip that cannot be read: never another clip in its place.

With the policy `skip` it is left out, named once in the log and listed in a file; too many of a
split end the run. With `error` the first one does.
"""

from __future__ import annotations

import csv
import io
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from actionrec import launched
from actionrec.atomic_file import atomic_file
from actionrec.data.clip_table import ClipTable
from actionrec.errors import SecurityError, UserError, first_few

_COLUMNS = ("annotation", "clip_id", "reason")

logger = logging.getLogger(__name__)


class BadClip(NamedTuple):
    """What comes out of a loader's worker in the place of a sample."""

    clip: int
    error: UserError


@dataclass
class BadClips:
    """The bad clips of a run, each once. path: the CSV that lists them, made with the first.

    Each of several processes knows those of its share, until `merge`.
    """

    policy: str
    max_fraction: float  # of the clips of a split
    path: Path
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)
    split_sizes: dict[str, int] = field(default_factory=dict)  # clips of each split with bad ones

    def add(self, table: ClipTable, bad: BadClip, *, may_end_run: bool = True) -> None:
        """Count a clip of `table`; one that is known already changes nothing.

        Raises its own error under `error`, or where reading it could do harm; and UserError for
        more than `max_fraction` of the table, unless `may_end_run` is False.
        """
        if self.policy == "error" or isinstance(bad.error, SecurityError):
            raise bad.error
        split = table.source.name  # its folder may be another one in each machine
        self.split_sizes[split] = len(table)
        if self._note(split, table.ids[bad.clip], str(bad.error)) and may_end_run:
            self._check(split)

    def merge(self, gather_texts: Callable[[str], list[str]], *, may_end_run: bool = True) -> None:
        """Take those that other processes met, as `add` would. gather_texts: theirs, by rank.

        Raises UserError in all processes alike.
        """
        own = [self.split_sizes, [[*key, reason] for key, reason in self.reasons.items()]]
        for sizes, bad in map(json.loads, gather_texts(json.dumps(own))):
            self.split_sizes |= sizes
            for split, clip_id, reason in bad:
                self._note(split, clip_id, reason)
        for split in self.split_sizes if may_end_run else ():
            self._check(split)

    def _note(self, split: str, clip_id: str, reason: str) -> bool:
        """Whether the clip was not known before."""
        if (split, clip_id) in self.reasons:
            return False
        self.reasons[split, clip_id] = reason
        logger.warning("left out: %s", reason)
        self._write()
        return True

    def _check(self, split: str) -> None:
        bad = {clip_id: reason for (of, clip_id), reason in self.reasons.items() if of == split}
        if len(bad) > self.max_fraction * self.split_sizes[split]:
            last = list(bad.values())[-1]
            raise UserError(
                f"{last}\n{len(bad)} of {self.split_sizes[split]} clips of {split} cannot be read, "
                f"more than DATA.MAX_BAD_FRACTION {self.max_fraction:g}: {first_few(list(bad))}; "
                "mend them, or allow more"
            )

    def _write(self) -> None:
        if not launched.is_main():
            return
        try:
            with atomic_file(self.path) as file:
                text = io.TextIOWrapper(file, encoding="utf-8", newline="")
                rows = csv.writer(text, lineterminator="\n")
                rows.writerow(_COLUMNS)
                for (split, clip_id), reason in self.reasons.items():
                    rows.writerow((split, clip_id, reason))
                text.detach()  # flushes, and leaves the file open
        except OSError as error:
            logger.warning("%s: not written (%s)", self.path, error.strerror)

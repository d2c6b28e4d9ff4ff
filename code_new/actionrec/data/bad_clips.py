"""What happens to a clip that cannot be read: never another clip in its place.

With the policy `skip` it is left out, named once in the log and listed in a file; too many of a
split end the run. With `error` the first one does.
"""

from __future__ import annotations

import csv
import io
import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from actionrec.data.atomic_file import atomic_file
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
    """The bad clips of a run, each once. path: the CSV that lists them, made with the first."""

    policy: str
    max_fraction: float  # of the clips of a split
    path: Path
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, table: ClipTable, bad: BadClip, *, may_end_run: bool = True) -> None:
        """Count a clip of `table`; one that is known already changes nothing.

        Raises its own error under `error`, or where reading it could do harm; and UserError for
        more than `max_fraction` of the table, unless `may_end_run` is False.
        """
        if self.policy == "error" or isinstance(bad.error, SecurityError):
            raise bad.error
        key = (table.source.name, table.ids[bad.clip])
        if key in self.reasons:
            return
        self.reasons[key] = str(bad.error)
        logger.warning("left out: %s", bad.error)
        self._write()
        ids = [clip_id for name, clip_id in self.reasons if name == table.source.name]
        if may_end_run and len(ids) > self.max_fraction * len(table):
            raise UserError(
                f"{bad.error}\n{len(ids)} of {len(table)} clips of {table.source} cannot be read, "
                f"more than DATA.MAX_BAD_FRACTION {self.max_fraction:g}: {first_few(ids)}; mend or "
                "remove them, or allow more"
            )

    def _write(self) -> None:
        try:
            with atomic_file(self.path) as file:
                text = io.TextIOWrapper(file, encoding="utf-8", newline="")
                rows = csv.writer(text, lineterminator="\n")
                rows.writerow(_COLUMNS)
                rows.writerows((*key, reason) for key, reason in self.reasons.items())
                text.detach()  # flushes, and leaves the file open
        except OSError as error:
            logger.warning("%s: not written (%s)", self.path, error.strerror)

"""What a measurement gives: SlowFast's way beside ours, both from one run."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    name: str
    upstream: float | None  # None where no tree of SlowFast's repository was given
    ours: float
    ratio: float | None  # upstream / ours
    ceiling_share: float | None  # of the best that could be; None where nothing limits it

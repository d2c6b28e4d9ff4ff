"""What the doctor says: findings with a severity, and the facts beside them."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum


class Severity(IntEnum):
    """NOTE: good to know. WARNING: costs clips, or puts a wrong name beside a figure. ERROR: a run
    ends there, or measures the wrong thing."""

    NOTE = 0
    WARNING = 1
    ERROR = 2


EXIT_CODES = {Severity.NOTE: 0, Severity.WARNING: 3, Severity.ERROR: 2}


@dataclass(frozen=True)
class Finding:
    """`kind` is a fixed name for programs, `what` one sentence, `fix` what to do about it.

    `count` is how many there are, `examples` the first of them or all.
    """

    severity: Severity
    kind: str
    what: str
    count: int = 1
    examples: tuple[str, ...] = ()
    fix: str = ""


@dataclass
class Report:
    """Facts by what they are about, then by name; findings in the order in which they came;
    written: a line for each file that was written and each change in it."""

    facts: dict[str, dict[str, int | float | str]] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    written: list[str] = field(default_factory=list)

    @property
    def severity(self) -> Severity:
        """Of the worst finding."""
        return max((f.severity for f in self.findings), default=Severity.NOTE)

    @property
    def exit_code(self) -> int:
        """0 nothing but notes, 3 warnings, 2 errors."""
        return EXIT_CODES[self.severity]

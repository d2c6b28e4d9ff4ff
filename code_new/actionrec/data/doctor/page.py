"""A report as a page to read, and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator

from actionrec.data.doctor.findings import Finding, Report, Severity
from actionrec.errors import first_few

_SHOWN_WORDS, _SHOWN_LINES = 15, 12


def page(report: Report) -> list[str]:
    """The lines to print: the facts, then the findings, the worst first."""
    lines = [f"{about}: {_spoken(facts)}" for about, facts in report.facts.items()]
    for finding in sorted(report.findings, key=lambda f: -f.severity):
        lines += ["", *_paragraph(finding)]
    numbers = {s: sum(f.severity is s for f in report.findings) for s in reversed(Severity)}
    counted = [f"{n} {s.name.lower()}{'s'[: n != 1]}" for s, n in numbers.items()]
    return [*lines, "", *report.written, ", ".join(counted)]


def _spoken(facts: dict[str, int | float | str]) -> str:
    return ", ".join(
        f"{value:,} {name}" if isinstance(value, int | float) else f"{name} {value}"
        for name, value in facts.items()
    )


def _paragraph(finding: Finding) -> Iterator[str]:
    yield f"{finding.severity.name.lower()}: {finding.what}"
    if any(" " in example for example in finding.examples):
        yield from (f"    {example}" for example in finding.examples[:_SHOWN_LINES])
        if len(finding.examples) > _SHOWN_LINES:
            yield f"    and {len(finding.examples) - _SHOWN_LINES:,} more"
    elif finding.examples:
        yield f"    {first_few(finding.examples, _SHOWN_WORDS)}"
    if finding.fix:
        yield f"  -> {finding.fix}"


def as_json(report: Report) -> bytes:
    """The same with all examples. Keys and order are fixed, so that two reports can be compared."""
    content = {
        "exit_code": report.exit_code,
        "facts": report.facts,
        "findings": [
            {
                "severity": finding.severity.name.lower(),
                "kind": finding.kind,
                "count": finding.count,
                "what": finding.what,
                "examples": finding.examples,
                "fix": finding.fix,
            }
            for finding in report.findings
        ],
        "written": report.written,
    }
    return (json.dumps(content, indent=1) + "\n").encode()

"""Which name belongs to which label, by the clips' own texts; and which tables say otherwise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from actionrec.data.doctor.clip_texts import ClipText, normalised
from actionrec.data.doctor.findings import Finding, Severity

# A name is called wrong only where another fits clearly better: at least so many times.
CLEARLY = 2.0


@dataclass(frozen=True, eq=False)
class NameEvidence:
    """Clips counted by label and by the action that their text names; C labels, A names.

    named (A,) clips whose text names it, labelled (C,) clips with the label, both (C, A); alone
    (C,) and alone_both (C, A) the same over the clips that have no other label.
    """

    names: tuple[str, ...]
    named: np.ndarray
    labelled: np.ndarray
    both: np.ndarray
    alone: np.ndarray
    alone_both: np.ndarray

    def overlap(self) -> np.ndarray:
        """(C, A) clips with label and name, as a part of those with either."""
        either = self.labelled[:, None] + self.named - self.both
        return self.both / np.maximum(either, 1)

    def better_names(self, given: Sequence[str]) -> dict[int, str]:
        """Labels whose given name is wrong, with the normalised name that the clips support.

        A label and a name belong together when each overlaps most with the other.
        """
        overlap = self.overlap()
        place = {name: a for a, name in enumerate(self.names)}
        found = {}
        for label, name in enumerate(map(normalised, given)):
            best = int(overlap[label].argmax())
            own = overlap[label, place[name]] if name in place else 0.0
            mutual = int(overlap[:, best].argmax()) == label
            if mutual and overlap[label, best] > 0 and overlap[label, best] >= CLEARLY * own:
                found[label] = self.names[best]
        return {label: name for label, name in found.items() if name != normalised(given[label])}

    def said(self, label: int, name: str) -> str:
        """`290 of 388 clips name 'Flapping tail', 39 of the 39 without another label`."""
        a = self.names.index(normalised(name))
        said = f"{self.both[label, a]} of {self.labelled[label]} clips name {name!r}"
        alone = self.alone[label]
        of_alone = f", {self.alone_both[label, a]} of {alone} without another label"
        return said + (of_alone if alone else "")


def count_names(
    names: Sequence[str],
    num_classes: int,
    texts: dict[str, ClipText],
    labels: dict[str, tuple[int, ...]],
) -> NameEvidence:
    """Count the clips that have a text. names: to choose from; labels: by clip id."""
    known = tuple(dict.fromkeys(map(normalised, names)))
    place = {name: a for a, name in enumerate(known)}
    has_name = np.zeros((len(labels), len(known)), dtype=np.float32)  # counts are exact in it
    has_label = np.zeros((len(labels), num_classes), dtype=np.float32)
    for row, (clip_id, of_clip) in enumerate(labels.items()):
        if clip_id in texts:
            has_label[row, list(of_clip)] = 1
            has_name[row, [place[a] for a in texts[clip_id].actions if a in place]] = 1
    is_alone = has_label.sum(axis=1) == 1
    alone = has_label[is_alone]
    counts = (
        has_name.sum(axis=0),
        has_label.sum(axis=0),
        has_label.T @ has_name,
        alone.sum(axis=0),
        alone.T @ has_name[is_alone],
    )
    return NameEvidence(known, *(count.astype(np.int64) for count in counts))


def check_names(
    table: str, given: Sequence[str], evidence: NameEvidence, severity: Severity
) -> Iterator[Finding]:
    """Names of one table that the clips' texts contradict."""
    better = evidence.better_names(given)
    if better:
        yield Finding(
            severity,
            "names_against_clips",
            f"{len(better)} of {len(given)} names in {table} are not what the clips' own texts "
            "tell of",
            len(better),
            tuple(
                f"class {label} {given[label]!r}: {evidence.said(label, name)}"
                for label, name in better.items()
            ),
            "write a table with the clips' names: --write-class-table",
        )


def check_agreement(
    one: str, names: Sequence[str], other: str, others: Sequence[str], evidence: NameEvidence
) -> Iterator[Finding]:
    """Labels that two tables name differently, and which of the two the clips support."""
    differ = [c for c in range(len(names)) if normalised(names[c]) != normalised(others[c])]
    if differ:
        yield Finding(
            Severity.NOTE,
            "names_disagree",
            f"{one} and {other} name {len(differ)} classes differently",
            len(differ),
            tuple(
                f"class {c}: {evidence.said(c, names[c])}; {evidence.said(c, others[c])}"
                for c in differ
            ),
            "take the name that the clips support",
        )

"""The texts of a column of labels to sets of labels."""

from __future__ import annotations

from pathlib import Path

from actionrec.data.input_checks import AnnotationError, parse_labels, shown


class LabelSets:
    """Equal sets of labels are kept once, whatever their order and spelling."""

    def __init__(self, num_classes: int, unlabelled_frames: bool) -> None:
        self.num_classes, self.unlabelled_frames = num_classes, unlabelled_frames
        self.sets: dict[tuple[int, ...], int] = {}
        self._by_text: dict[str, int] = {}
        self._repeating: set[str] = set()
        self._repeats: dict[str, tuple[str, str]] = {}  # clip id -> place, labels

    def index(self, text: str, clip_id: str, where: str) -> int:
        if text not in self._by_text:
            labels = self._parse(text, where)
            unique = tuple(sorted(set(labels)))
            self._by_text[text] = self.sets.setdefault(unique, len(self.sets))
            if len(unique) != len(labels):
                self._repeating.add(text)
        if text in self._repeating:
            self._repeats.setdefault(clip_id, (where, text))
        return self._by_text[text]

    def _parse(self, text: str, where: str) -> list[int]:
        if text:
            return parse_labels(
                text,
                num_classes=self.num_classes,
                where=where,
                fix=f"check MODEL.NUM_CLASSES ({self.num_classes}) or the file",
            )
        if self.unlabelled_frames:
            return []
        raise AnnotationError(
            f"{where}: the row has no label; only with TRAIN.DATASET charades may a frame have none"
        )

    def note(self, path: Path) -> str:
        if not self._repeats:
            return ""
        where, text = next(iter(self._repeats.values()))
        return (
            f"{path}: {len(self._repeats)} clips repeat a label within a row (first: {where}: "
            f"{shown(text)}); it counts once"
        )

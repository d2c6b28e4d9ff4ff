"""ELAN's own file, .eaf: XML with time slots in milliseconds, tiers and annotations.

The tier is the subject, the annotation the behaviour (an empty one is named by its tier). Tiers
whose annotations have no times of their own are left out: they describe other annotations.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree  # noqa: S405 - definitions are refused before
from collections.abc import Iterator
from urllib.parse import unquote

from actionrec.data.input_checks import AnnotationError, shown
from actionrec.data.own.events.event import Event, make_event
from actionrec.data.own.events.sheet import Sheet, read_text
from actionrec.errors import SecurityError

# ELAN writes none; entities are how XML is made to grow, or to read other files.
_DEFINITION = re.compile(r"<!\s*(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_WHOLE_NUMBER = re.compile(r"-?[0-9]{1,12}")


def matches(header: list[str]) -> bool:
    """Whether the first line is that of XML."""
    return header[0].lstrip().startswith(("<?xml", "<ANNOTATION_DOCUMENT"))


def parse(sheet: Sheet) -> list[Event]:
    """One event for each annotation with times of its own."""
    text = read_text(sheet.path)
    if _DEFINITION.search(text):
        raise SecurityError(f"{sheet.path}: is refused: it defines XML entities, ELAN writes none")
    try:
        root = ElementTree.fromstring(text)  # noqa: S314 - definitions are refused above
    except (ElementTree.ParseError, ValueError) as error:
        raise AnnotationError(
            f"{sheet.path}: is not whole XML ({error}); save it again in ELAN"
        ) from None
    if root.tag != "ANNOTATION_DOCUMENT":
        raise AnnotationError(f"{sheet.path}: is XML, but no ELAN file: it begins with {root.tag}")
    video, origin_sec = _media(root, sheet)
    slots = {s.get("TIME_SLOT_ID"): s.get("TIME_VALUE") for s in root.iter("TIME_SLOT")}
    events = []
    for tier, annotation in _annotations(root):
        where = f"{sheet.path}: tier {shown(tier)}, annotation {annotation.get('ANNOTATION_ID')}"
        start, stop = (
            _milliseconds(slots.get(annotation.get(f"TIME_SLOT_REF{n}")), where) / 1000 + origin_sec
            for n in (1, 2)
        )
        value = " ".join((annotation.findtext("ANNOTATION_VALUE") or "").split())
        events.append(make_event(video, start, stop, value or tier, where, tier))
    return events


def _annotations(root: ElementTree.Element) -> Iterator[tuple[str, ElementTree.Element]]:
    for tier in root.iter("TIER"):
        for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
            yield tier.get("TIER_ID", ""), annotation


def _media(root: ElementTree.Element, sheet: Sheet) -> tuple[str, float]:
    """The master video, and where its annotated part begins; else the file's own name."""
    unit = next((header.get("TIME_UNITS") for header in root.iter("HEADER")), None)
    if unit not in (None, "milliseconds"):
        raise AnnotationError(f"{sheet.path}: counts in {shown(unit)}; save it in milliseconds")
    media = list(root.iter("MEDIA_DESCRIPTOR"))
    videos = [m for m in media if (m.get("MIME_TYPE") or "video").startswith("video")]
    for descriptor in videos[:1]:
        url = descriptor.get("MEDIA_URL") or descriptor.get("RELATIVE_MEDIA_URL") or ""
        origin = _milliseconds(descriptor.get("TIME_ORIGIN", "0"), f"{sheet.path}: TIME_ORIGIN")
        if url:
            return unquote(url), origin / 1000
    return sheet.path.stem, 0.0


def _milliseconds(text: str | None, where: str) -> int:
    if text is None or not _WHOLE_NUMBER.fullmatch(text):
        raise AnnotationError(
            f"{where}: has no time of its own ({shown(text)}); give it one in ELAN, or name the "
            "other tiers with --subjects"
        )
    if int(text) < 0:
        raise AnnotationError(f"{where}: {text} ms is before the video begins")
    return int(text)

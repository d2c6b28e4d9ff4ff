"""Refuse a workbook that could do harm, before a parser sees it; and what a reader cannot see.

An .xlsx is a zip of XML files. Python's zipfile never unpacks more than the size that an entry
declares, so the declared sizes can be trusted as an upper limit.
"""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

from actionrec.data.input_checks import AnnotationError, check_regular_file, shown
from actionrec.errors import SecurityError

MAX_FILE_BYTES = 256 * 2**20
MAX_UNPACKED_BYTES = 256 * 2**20
MAX_RATIO = 200
_CHUNK_BYTES = 2**20
# No program writes document type definitions into a workbook; entities are how XML is made to grow.
_DEFINITION = re.compile(rb"<!(?:DOCTYPE|ENTITY)")
_HIDDEN_ROW = re.compile(rb"<(?:\w+:)?row\b[^>]*\bhidden=[\"'](?:1|true)[\"'][^>]*>")
_ROW_NUMBER = re.compile(rb"\br=[\"'](\d{1,9})[\"']")
_MERGED = re.compile(rb"<(?:\w+:)?mergeCell\b[^>]*\bref=[\"']([A-Z0-9:]{1,20})[\"']")


def check_archive(path: Path) -> None:
    """Raises AnnotationError for a file that is no workbook, SecurityError for a harmful one."""
    check_regular_file(path, max_bytes=MAX_FILE_BYTES)
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            unpacked = sum(entry.file_size for entry in entries)
            ratio = unpacked / max(1, path.stat().st_size)
            if unpacked > MAX_UNPACKED_BYTES or ratio > MAX_RATIO:
                raise SecurityError(
                    f"{path}: is refused: it would unpack to {unpacked:,} bytes, {ratio:.0f} times "
                    f"its size (limits {MAX_UNPACKED_BYTES:,} and {MAX_RATIO}); save it anew"
                )
            for entry in entries:
                if entry.filename.endswith((".xml", ".rels")):
                    _refuse_definitions(path, archive, entry)
    except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
        raise AnnotationError(
            f"{path}: is not a readable .xlsx workbook ({shown(error)}); save it as .xlsx without "
            "a password"
        ) from None


def _refuse_definitions(path: Path, archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
    with archive.open(entry) as part:
        tail = b""
        while chunk := part.read(_CHUNK_BYTES):
            if _DEFINITION.search(tail + chunk):
                raise SecurityError(
                    f"{path}: is refused: {shown(entry.filename)} defines XML entities, which no "
                    "spreadsheet program writes"
                )
            tail = chunk[-16:]


def check_plain_sheet(path: Path, sheet: str, part_name: str) -> None:
    """Raises AnnotationError for hidden rows and merged cells: what is read is what is seen."""
    with zipfile.ZipFile(path) as archive:
        content = archive.read(part_name)
    if hidden := _HIDDEN_ROW.search(content):
        row = _ROW_NUMBER.search(hidden[0])
        raise AnnotationError(
            f"{path}: sheet {shown(sheet)}: row {row[1].decode() if row else '?'} is hidden; show "
            "all rows (remove the filter), or delete it"
        )
    if merged := _MERGED.search(content):
        raise AnnotationError(
            f"{path}: sheet {shown(sheet)}: cells {merged[1].decode()} are merged; unmerge "
            "them and fill each"
        )

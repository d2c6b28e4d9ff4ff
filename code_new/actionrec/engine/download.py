"""Download one file over https; the only place of the project that opens a URL.

Nothing that trains or tests imports this: its command is tools/fetch_checkpoint.py.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import SplitResult, urlsplit

from actionrec.atomic_file import atomic_file
from actionrec.engine.logging import printable
from actionrec.errors import SecurityError, UserError
from actionrec.progress import Progress

MAX_BYTES = 2 << 30  # SlowFast R50 with its momentum has about 0.3 GB
_CHUNK_BYTES = 1 << 20
_PATIENCE_SEC = 30.0  # without a byte


class Downloaded(NamedTuple):
    path: Path
    sha256: str  # 64 hexadecimal digits


def download(url: str, out: Path | None = None, *, sha256: str | None = None) -> Downloaded:
    """Write what `url` holds to `out`, whole or not at all.

    out: None takes the last part of the URL, in the current folder. sha256: what it must be; None
    takes any. A file that is there and has this sum already is left alone. Raises SecurityError for
    another sum, another protocol than https and more than MAX_BYTES, UserError for what else stands
    in the way; then nothing is written.
    """
    parts = _checked(url)
    path = Path(_file_name(parts, url)) if out is None else out
    if sha256 is not None and not re.fullmatch("[0-9a-fA-F]{64}", sha256):
        raise UserError(f"--sha256: {sha256!r} is no sha256, which has 64 digits of 0-9 and a-f")
    try:
        if path.exists():
            return _existing(path, sha256)
        with atomic_file(path) as file, _open(url) as response:
            found = _copy(response, file, url, path.name)
            if sha256 is not None and found != sha256.lower():
                raise SecurityError(
                    f"{url}: its sha256 is {found}, not {sha256}: damaged, or another file; "
                    "nothing was kept"
                )
    except urllib.error.HTTPError as error:
        answer = f"{error.code} {printable(error.reason)}"
        raise UserError(f"{url}: the server answers {answer}; check the URL") from None
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise UserError(f"{path}: not downloaded: {printable(str(reason))}; try again") from None
    return Downloaded(path, found)


def _checked(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise UserError(f"{url!r}: is no URL; give one as https://host/path/file") from None
    if parts.scheme != "https" or not parts.hostname:
        raise SecurityError(
            f"{printable(url)}: is not https, where nobody can change a file on its way; give an "
            "https URL"
        )
    return parts


def _file_name(parts: SplitResult, url: str) -> str:
    name = parts.path.rpartition("/")[2]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", name):
        raise UserError(f"{url}: ends in no plain name of a file; give OUT, the file to write")
    return name


def _existing(path: Path, sha256: str | None) -> Downloaded:
    if sha256 is None or not path.is_file():
        raise UserError(f"{path}: is there already; remove it, or give another OUT")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != sha256.lower():
        raise UserError(
            f"{path}: is there already and has another sha256, {found}; remove it, or give another "
            "OUT"
        )
    return Downloaded(path, found)


class _HttpsOnly(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any) -> urllib.request.Request | None:
        request = super().redirect_request(*args)
        if request is not None:
            _checked(request.full_url)
        return request


def _open(url: str) -> Any:
    opener = urllib.request.build_opener(_HttpsOnly)
    return opener.open(url, timeout=_PATIENCE_SEC)


def _copy(response: Any, file: BinaryIO, url: str, name: str) -> str:
    """The sha256 of what was copied. Raises as `download`."""
    total = response.length
    if not total:
        raise UserError(f"{url}: the server does not say how large the file is; get it by hand")
    if total > MAX_BYTES:
        raise SecurityError(f"{url}: {total:,} bytes; a checkpoint has at most {MAX_BYTES:,}")
    digest, copied = hashlib.sha256(), 0
    with Progress(-(-total // _CHUNK_BYTES), name, "MB") as progress:
        while chunk := response.read(_CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
            copied += len(chunk)
            progress.update()
    if copied != total:
        raise UserError(f"{url}: ended after {copied:,} of {total:,} bytes; try again")
    return digest.hexdigest()

"""The file of a checkpoint: written whole or not at all, verified, and never executed.

It is what `torch.save` writes, tensors and plain values only, and a trailer of fixed length: a line
feed, `actionrec-sha256:`, the sha256 of all bytes before the trailer as 64 hex digits, a line feed.
`torch.load` reads past the trailer.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle  # noqa: S403 - for the name of the error by which torch refuses a payload
from pathlib import Path
from typing import Any, BinaryIO

import torch

from actionrec.errors import SecurityError, UserError

_MAGIC = b"\nactionrec-sha256:"
_TRAILER_BYTES = len(_MAGIC) + 64 + 1
_ZIP = b"PK\x03\x04"
# How torch.save began a file before torch 1.6: a pickled number of its own.
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."


class TornCheckpoint(UserError):
    """The file is no whole checkpoint; an older one may be."""


def write(path: Path, content: dict[str, Any]) -> None:
    """Make `path` hold `content`; whatever happens, it holds all of the old or all of the new.

    Makes the folder. Raises TypeError where `content` holds more than tensors and plain values,
    UserError where the disk refuses. The temporary file is removed in either case.
    """
    _require_plain(content, "checkpoint")
    # In the same folder, so that the rename is atomic; without `checkpoint` in its name, which
    # SlowFast would resume. What a killed run left there is removed, never written through.
    temporary = path.with_name(f".{path.name.replace('checkpoint', 'ckpt')}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        _write_sealed(temporary, content)
        temporary.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise UserError(
            f"{path}: not saved ({error.strerror or error}); free space there, or choose another "
            "folder (OUTPUT_DIR)"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def read(path: Path) -> tuple[Any, bool]:
    """(content with tensors on the CPU, whether a checksum stood at the end; it was right then).

    Raises TornCheckpoint for a file that is damaged or no checkpoint, SecurityError for one that
    holds more than tensors and plain values, UserError for one that cannot be read.
    """
    try:
        if path.exists() and not path.is_file():
            raise UserError(f"{path}: is not a file; give the path of a .pyth file")
        head, verified = _verify(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    return _unpack(path, head), verified


class _HashingFile:
    """What torch.save writes to. It keeps the error that torch replaces by one of its own."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.sha256 = file, hashlib.sha256()
        self.error: BaseException | None = None

    def write(self, chunk: bytes) -> int:
        try:
            self.file.write(chunk)
        except BaseException as error:
            self.error = error
            raise
        self.sha256.update(chunk)
        return len(chunk)

    def flush(self) -> None:
        self.file.flush()


def _write_sealed(path: Path, content: dict[str, Any]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
    with os.fdopen(descriptor, "wb") as file:
        hashing = _HashingFile(file)
        try:
            torch.save(content, hashing)  # type: ignore[arg-type]
        except RuntimeError:
            if hashing.error is None:
                raise
            raise hashing.error from None
        file.write(_MAGIC + hashing.sha256.hexdigest().encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Without it a loss of power may undo a rename."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _verify(path: Path) -> tuple[bytes, bool]:
    """The first bytes, and whether a checksum stood at the end and was right."""
    with path.open("rb") as file:
        body_bytes = max(file.seek(0, os.SEEK_END) - _TRAILER_BYTES, 0)
        file.seek(body_bytes)
        trailer = file.read()
        file.seek(0)
        head = file.read(len(_LEGACY))
        if not trailer.startswith(_MAGIC):
            return head, False
        sha256, left = hashlib.sha256(head), body_bytes - len(head)
        while left > 0 and (chunk := file.read(min(left, 1 << 20))):
            sha256.update(chunk)
            left -= len(chunk)
    if trailer != _MAGIC + sha256.hexdigest().encode() + b"\n":
        raise TornCheckpoint(f"{path}: damaged, its sha256 is not the stored one; use another")
    return head, True


def is_torch(head: bytes) -> bool:
    """Whether a file with these first bytes, 15 or more, is one that torch.save wrote."""
    return head.startswith((_ZIP, _LEGACY))


def _unpack(path: Path, head: bytes) -> Any:
    if not is_torch(head) and (path.suffix == ".pkl" or head.startswith(b"\x80")):
        raise SecurityError(
            f"{path}: is a plain pickle, as Caffe2's .pkl files are, which could run code; convert "
            f"it to .pyth, once: python tools/convert_checkpoint.py {path} OUT.pyth"
        )
    if not is_torch(head):
        raise TornCheckpoint(f"{path}: damaged or no checkpoint; give a .pyth file")
    try:
        is_zip = head.startswith(_ZIP)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        raise SecurityError(
            f"{path}: refused, nothing was executed: it holds more than tensors and plain values "
            f"({_reason(error)}); use weights that hold no code"
        ) from error
    except Exception as error:  # what a damaged file makes torch raise is not documented
        raise TornCheckpoint(
            f"{path}: damaged, it cannot be unpacked ({_reason(error)}); use another"
        ) from error


def _reason(error: Exception) -> str:
    """The telling line of torch's long messages, without its advice to load unsafely."""
    lines = [line.strip() for line in str(error).splitlines()]
    causes = ("Trying to", "Unsupported", "WeightsUnpickler error")
    telling = [line for line in lines if line.startswith(causes)]
    return ascii((telling or lines or [type(error).__name__])[0][:120])[1:-1]


def _require_plain(value: Any, where: str) -> None:
    # Exact types: numpy's floats and torch's version are subclasses, which weights_only=True would
    # refuse to read back.
    if value is None or type(value) in (bool, int, float, str) or isinstance(value, torch.Tensor):
        return
    if isinstance(value, dict):
        for key, inner in value.items():
            _require_plain(key, f"a key of {where}")
            _require_plain(inner, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for index, inner in enumerate(value):
            _require_plain(inner, f"{where}[{index}]")
    else:
        raise TypeError(
            f"{where} is a {type(value).__name__}: checkpoints hold tensors and plain values only"
        )

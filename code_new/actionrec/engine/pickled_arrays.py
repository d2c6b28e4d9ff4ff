"""Stand-ins for what a pickle of arrays takes from numpy, which sees checked values only.

An array is pickled as `_reconstruct(ndarray, (0,), 'b')`, which makes an empty one, and its state:
(version, shape, dtype, whether in Fortran's order, content). A dtype is pickled as
`dtype('f4', 0, 1)` and its state: (version, byte order, three that only compound ones have, ...).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_MAX_DIMENSIONS = 8
_TYPES = "f2 f4 f8 i1 i2 i4 i8 u1 u2 u4 u8 b1".split()


class Refused(Exception):
    """What named arrays of numbers have no need of."""


class Dtype:
    """For numpy.dtype: made of kind and size, then told the byte order."""

    def __init__(self, code: object, align: object = False, copy: object = False) -> None:
        if code not in _TYPES:
            raise Refused(f"an array of type {shown(code)}")
        self.dtype = np.dtype(str(code))

    def build(self, state: tuple[Any, ...]) -> None:
        _, byte_order, *fields = state
        if byte_order not in ("<", ">", "|", "=") or fields[:3] != [None, None, None]:
            raise Refused("an array of a compound type")
        self.dtype = self.dtype.newbyteorder(byte_order)


class Array:
    """For numpy.ndarray: made empty, then told shape, type and content."""

    def __init__(self) -> None:
        self.values: np.ndarray = np.empty(0)

    def build(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, is_fortran, raw = state
        if not isinstance(kind, Dtype) or type(shape) is not tuple:
            raise ValueError("an array without type or shape")
        if len(shape) > _MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in shape):
            raise ValueError("an array of impossible shape")
        # Python 2 wrote bytes as text, one character a byte.
        raw = raw.encode("latin-1") if isinstance(raw, str) else raw
        if type(raw) is not bytes or math.prod(shape) * kind.dtype.itemsize != len(raw):
            raise ValueError("an array whose shape and content do not agree")
        values = np.frombuffer(raw, kind.dtype)
        self.values = values.reshape(shape, order="F" if is_fortran else "C")


@dataclass(frozen=True)
class StandIn:
    """For a function or class; a file can put it on the stack, and call it."""

    call: Callable[..., Any]


def _no_call(*arguments: object) -> None:
    raise Refused("a call of numpy.ndarray")


_NDARRAY = StandIn(_no_call)


def _reconstruct(kind: object, shape: object, code: object) -> Array:
    if kind is not _NDARRAY:
        raise Refused("an array of another class")
    return Array()


def _scalar(kind: object, raw: object) -> Array:
    array = Array()
    array.build((1, (), kind, False, raw))
    return array


def _encode(text: object, encoding: object) -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if not isinstance(text, str) or encoding != "latin1":
        raise Refused(f"bytes in the encoding {shown(encoding)}")
    return text.encode("latin-1")


GLOBALS = {
    "numpy ndarray": _NDARRAY,
    "numpy dtype": StandIn(Dtype),
    # numpy 2 renamed the module.
    "numpy.core.multiarray _reconstruct": StandIn(_reconstruct),
    "numpy._core.multiarray _reconstruct": StandIn(_reconstruct),
    "numpy.core.multiarray scalar": StandIn(_scalar),
    "numpy._core.multiarray scalar": StandIn(_scalar),
    "_codecs encode": StandIn(_encode),
    "__builtin__ bytes": StandIn(lambda: b""),
}


def shown(value: object) -> str:
    """Short and printable. Of a structure only its type: its representation could be endless."""
    return ascii(value[:80])[1:-1][:80] if isinstance(value, str) else type(value).__name__

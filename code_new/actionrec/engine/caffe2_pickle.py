"""Read the named arrays of a Caffe2 checkpoint, a pickle, without Python's unpickler.

A pickle is a program for a small stack machine, and may ask for any function of any module to be
called. The machine here knows only the instructions that named arrays need, and in place of
functions only the stand-ins of `GLOBALS`: nothing that a file names is imported or called. How
instructions lie in the file is known to `pickletools` of the standard library.
"""

from __future__ import annotations

import pickletools
from pathlib import Path
from typing import Any

from actionrec.engine.pickled_arrays import GLOBALS, Array, Dtype, Refused, StandIn, shown
from actionrec.errors import SecurityError, UserError

MAX_INSTRUCTIONS = 1_000_000  # a SlowFast of depth 101 with its momentum has about 60,000

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read_blobs(path: Path, pickled: bytes) -> dict[str, Any]:
    """The blobs of the Caffe2 checkpoint `pickled`, which `path` held: arrays and numbers by name.

    The arrays cannot be written to. Raises SecurityError, which names the first thing that is more
    than arrays of numbers, and UserError where the pickle is damaged or holds no blobs.
    """
    try:
        content = _Machine(len(pickled)).run(pickled)
    except Refused as refused:
        raise SecurityError(
            f"{path}: refused, nothing was executed: it holds more than named arrays of numbers "
            f"({refused}); use weights that hold no code"
        ) from None
    # What pickletools and the machine meet in a damaged file.
    except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
        reason = shown(str(error))
        raise UserError(
            f"{path}: damaged, it cannot be unpacked ({reason}); use another"
        ) from error
    blobs = content.get("blobs") if isinstance(content, dict) else None
    if not isinstance(blobs, dict):
        raise UserError(
            f"{path}: holds no 'blobs', so it is no Caffe2 checkpoint; give another file"
        )
    return {k: blob.values if isinstance(blob, Array) else blob for k, blob in blobs.items()}


class _Machine:
    """A stack, the heights marked on it, and a memo; the instructions are pickle's."""

    def __init__(self, num_bytes: int) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}
        # A content may become bytes first and an array then; only a bomb uses one again and again.
        self.room_bytes = 2 * num_bytes

    def run(self, pickled: bytes) -> Any:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(pickled)):
            if opcode.name == "STOP":
                return self.stack.pop()
            if count == MAX_INSTRUCTIONS:
                raise Refused(f"more than {MAX_INSTRUCTIONS} instructions")
            self.step(opcode.name, argument)
        raise ValueError("no end")

    def step(self, name: str, argument: Any) -> None:
        push = self.stack.append
        match name:
            case "BINUNICODE" | "SHORT_BINUNICODE" | "BINSTRING" | "SHORT_BINSTRING":
                push(argument)
            case "BINBYTES" | "SHORT_BINBYTES":
                push(argument)
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                push(argument)
            case "NONE" | "NEWTRUE" | "NEWFALSE" | "EMPTY_TUPLE":
                push(_CONSTANTS[name])
            case "EMPTY_DICT":
                push({})
            case "MARK":
                self.marks.append(len(self.stack))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                push(self.pop(_TUPLES[name]))
            case "TUPLE":
                push(self.pop_to_mark())
            case "SETITEM":
                self.set_items(self.pop(2))
            case "SETITEMS":
                self.set_items(self.pop_to_mark())
            case "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "BINGET" | "LONG_BINGET":
                push(self.memo[argument])
            case "GLOBAL":
                push(_find(argument))
            case "STACK_GLOBAL":
                push(_find(" ".join(self.pop(2))))
            case "REDUCE":
                self.call(*self.pop(2))
            case "BUILD":
                self.build(self.stack.pop())
            case "PROTO" | "FRAME":
                pass
            case _:
                raise Refused(f"the instruction {name}")

    def pop(self, count: int) -> tuple[Any, ...]:
        start = len(self.stack) - count
        if start < 0:
            raise ValueError("an empty stack")
        items = tuple(self.stack[start:])
        del self.stack[start:]
        return items

    def pop_to_mark(self) -> tuple[Any, ...]:
        return self.pop(max(len(self.stack) - self.marks.pop(), 0))

    def set_items(self, items: tuple[Any, ...]) -> None:
        target = self.stack[-1]
        # Text alone as names: hashing a deeply nested tuple would overflow Python's own stack.
        if type(target) is not dict or any(type(key) is not str for key in items[::2]):
            raise ValueError("a value without a name")
        target.update(zip(items[::2], items[1::2], strict=True))

    def call(self, function: object, arguments: object) -> None:
        if not isinstance(function, StandIn) or type(arguments) is not tuple:
            raise ValueError("a call of what is no function")
        made = function.call(*arguments)
        self.use(len(made) if isinstance(made, bytes) else 0)
        self.stack.append(made)

    def build(self, state: object) -> None:
        target = self.stack[-1]
        if not isinstance(target, Array | Dtype) or type(state) is not tuple:
            raise ValueError("a state for what has none")
        target.build(state)
        self.use(target.values.nbytes if isinstance(target, Array) else 0)

    def use(self, num_bytes: int) -> None:
        self.room_bytes -= num_bytes
        if self.room_bytes < 0:
            raise Refused("arrays larger than the file")


def _find(name: str) -> StandIn:
    if name not in GLOBALS:
        raise Refused(shown(name.replace(" ", ".")))
    return GLOBALS[name]

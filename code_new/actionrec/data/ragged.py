"""Many short texts or arrays in two numpy arrays.

A worker process that only reads them shares their memory with its parent; a Python object for each
would be copied as soon as its reference count changes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Self, TypeVar, overload

import numpy as np

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class Ragged(Sequence[Item]):
    """N items: item i is made of values[offsets[i] : offsets[i + 1]]; offsets (N + 1,) int64."""

    values: np.ndarray
    offsets: np.ndarray

    @staticmethod
    @abstractmethod
    def _item(values: np.ndarray) -> Item:
        """One item from its values."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Item, ...]: ...
    def __getitem__(self, index: int | slice) -> Item | tuple[Item, ...]:
        if isinstance(index, slice):
            return tuple(self.take(np.arange(len(self))[index]))
        item = range(len(self))[index]
        return self._item(self.values[self.offsets[item] : self.offsets[item + 1]])

    def __iter__(self) -> Iterator[Item]:
        for start, end in pairwise(self.offsets.tolist()):
            yield self._item(self.values[start:end])

    def take(self, items: np.ndarray) -> Self:
        """The items (M,) int64, in their order."""
        starts, ends = self.offsets[items], self.offsets[items + 1]
        return type(self)(self.values[ranges(starts, ends)], summed(ends - starts))


class Texts(Ragged[str]):
    """Texts as UTF-8; read like a tuple of str."""

    @classmethod
    def of(cls, texts: Iterable[str]) -> Self:
        encoded = [text.encode("utf-8", "surrogateescape") for text in texts]
        values = np.frombuffer(b"".join(encoded), dtype=np.uint8)
        return cls(values, summed([len(text) for text in encoded]))

    @staticmethod
    def _item(values: np.ndarray) -> str:
        return values.tobytes().decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        whole = self.values.tobytes()
        for start, end in pairwise(self.offsets.tolist()):
            yield whole[start:end].decode("utf-8", "surrogateescape")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Texts | tuple):
            return NotImplemented
        return tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]


class Arrays(Ragged[np.ndarray]):
    """Arrays of one dtype; read like a tuple of them."""

    @classmethod
    def of(cls, arrays: Sequence[Iterable[int]]) -> Self:
        """Each as int64."""
        made = [np.fromiter(array, dtype=np.int64) for array in arrays]
        return cls(np.concatenate([np.empty(0, np.int64), *made]), summed([len(a) for a in made]))

    @staticmethod
    def _item(values: np.ndarray) -> np.ndarray:
        return values


def summed(lengths: Sequence[int] | np.ndarray) -> np.ndarray:
    """Where pieces of these lengths begin, and where the last one ends: (N + 1,) int64."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def ranges(starts: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """starts[0], ..., ends[0] - 1, starts[1], ..., all in one array, int64."""
    lengths = ends - starts
    skipped = starts - np.cumsum(lengths) + lengths
    return np.arange(lengths.sum()) + np.repeat(skipped, lengths)

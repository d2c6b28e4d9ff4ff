"""Visible tables from a name to the code behind it, imported when the name is first used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from actionrec.errors import UserError, nearest


class Registry:
    """`Registry("dataset", {"a": "package.module:name"})["a"]` imports and returns `name`."""

    def __init__(self, what: str, table: Mapping[str, str]) -> None:
        self.what = what
        self.table = dict(table)

    def __contains__(self, name: str) -> bool:
        return name in self.table

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self.table))

    def __getitem__(self, name: str) -> Any:
        if name not in self.table:
            known = ", ".join(nearest(name, list(self.table)))
            raise UserError(f"unknown {self.what} {name!r}; known: {known}")
        module, _, attribute = self.table[name].partition(":")
        return getattr(import_module(module), attribute)

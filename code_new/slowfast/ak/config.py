"""Read a YAML file and command-line overrides into a CfgNode; all mistakes are reported at once.

yacs stops at the first mistake, refuses an int for a float, and fvcore follows `_BASE_` anywhere;
hence our own merge of both sources into upstream's tree of defaults. Nothing here imports torch.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from fvcore.common.config import CfgNode

from actionrec.errors import SecurityError, UserError, nearest
from slowfast.ak.paths import missing_config

MAX_YAML_BYTES = 1_000_000
OPEN_SECTION = "LOSS.PARAMS"  # any name is a key here; the loss checks them later


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases (they can grow without bound), and without keys of two values."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            line = self.peek_event().start_mark.line + 1
            raise SecurityError(f"line {line}: YAML aliases (*name) are not read; write it out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        seen: dict[str, yaml.Node] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise UserError(f"line {line}: a key must be a word")
            other = seen.setdefault(key_node.value, value_node)
            if other is not value_node and other.value != value_node.value:
                raise UserError(f"line {line}: the key {key_node.value!r} stands there twice")
        return super().construct_mapping(node, deep=deep)


# 2024-01-01 stays text: no key is a date.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_yaml(path: Path, named_by: str) -> dict[str, Any]:
    """The content of a file that stands in `named_by`: --cfg, or the _BASE_ of another file."""
    if path.is_dir():
        raise UserError(f"{named_by}: {path} is a folder; name a YAML file in it")
    if not path.is_file():
        raise UserError(f"{named_by}: {missing_config(path)}")
    if path.stat().st_size > MAX_YAML_BYTES:
        raise UserError(f"{path}: {path.stat().st_size} bytes; a config has at most 1 MB")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 is safe
    except UserError as error:
        raise type(error)(f"{path}: {error}") from None
    except yaml.constructor.ConstructorError as error:
        raise SecurityError(f"{path}: not plain YAML: {error.problem}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise UserError(f"{path}:{line}: not YAML: {error.problem}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not a YAML text file: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise SecurityError(f"{path}: nested too deeply") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: a config is `KEY: value` lines, this is a {_kind(content)}")
    return content


def _chain(path: Path) -> list[tuple[Path, dict[str, Any]]]:
    """The file and the files that it is based on through `_BASE_`, the most basic first."""
    root = next((p for p in path.resolve().parents if p.name == "configs"), path.resolve().parent)
    chain: list[tuple[Path, dict[str, Any]]] = []
    seen: list[Path] = []
    named_by = "--cfg"
    while True:
        if path.resolve() in seen:
            raise UserError(f"{path}: _BASE_ goes in a circle")
        seen.append(path.resolve())
        content = read_yaml(path, named_by)
        base = content.pop("_BASE_", None)
        chain.insert(0, (path, content))
        if base is None:
            return chain
        if not isinstance(base, str):
            raise UserError(f"{path}: _BASE_ is the name of one file, not a {_kind(base)}")
        base_path = path.parent / base
        if not base_path.resolve().is_relative_to(root):
            raise SecurityError(f"{path}: _BASE_: {base!r} leaves the folder {root}")
        named_by, path = f"{path}: _BASE_", base_path


def _leaves(content: dict[Any, Any], cfg: CfgNode, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, value) for each setting; a section that does not exist is one unknown key."""
    for key, value in content.items():
        name = f"{prefix}{key}"
        node = cfg.get(key) if isinstance(cfg, CfgNode) else None
        if isinstance(value, dict) and isinstance(node, CfgNode):
            yield from _leaves(value, node, f"{name}.")
        else:
            yield name, value


def _kind(value: Any) -> str:
    names = {"str": "text", "NoneType": "nothing", "dict": "section", "CfgNode": "section"}
    return names.get(type(value).__name__, type(value).__name__)


def _wanted(default: Any) -> str:
    """The type of a key in words."""
    if isinstance(default, list | tuple) and default and isinstance(default[0], int | float):
        return f"list of {_kind(default[0])}"
    return _kind(default)


def _literal(value: Any) -> Any:
    """Text as the Python literal that it may be (`1e-4`, `[1, 2]`, `True`), as upstream does."""
    if not isinstance(value, str) or len(value) > 10_000:
        return value
    if value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value


def _convert(value: Any, default: Any) -> Any:
    """`value` in the type of `default`. TypeError when it is of another kind."""
    if isinstance(default, str):
        if isinstance(value, dict | list) or value is None:
            raise TypeError
        return str(value)
    value = _literal(value)
    if isinstance(default, bool) or isinstance(value, bool):
        if not (isinstance(default, bool) and isinstance(value, bool)):
            raise TypeError
        return value
    if isinstance(default, float) and isinstance(value, int):
        return float(value)
    if isinstance(default, list | tuple) and isinstance(value, list | tuple):
        if default and all(isinstance(d, int | float) for d in default):
            return type(default)(_convert(v, default[0]) for v in value)
        return type(default)(value)
    if default is not None and not isinstance(value, type(default)):
        raise TypeError
    return value


def _known(cfg: CfgNode, prefix: str = "") -> list[str]:
    names = []
    for key, value in cfg.items():
        inner = isinstance(value, CfgNode) and f"{prefix}{key}" != OPEN_SECTION
        names += _known(value, f"{prefix}{key}.") if inner else [f"{prefix}{key}"]
    return names


def _set(cfg: CfgNode, name: str, value: Any) -> str | None:
    """Set one key; returns what is wrong with it, or None."""
    if name.startswith(f"{OPEN_SECTION}."):
        return _set_open(cfg, name, value)
    section, _, leaf = name.rpartition(".")
    node: Any = cfg
    for part in section.split(".") if section else []:
        node = node.get(part) if isinstance(node, CfgNode) else None
    if not isinstance(node, CfgNode) or leaf not in node:
        near = ", ".join(nearest(name, _known(cfg))[:3])
        return f"{name}: unknown key; the nearest are {near}"
    if name == OPEN_SECTION and isinstance(_literal(value), dict):
        problems = [_set_open(cfg, f"{name}.{k}", v) for k, v in _literal(value).items()]
        return next(filter(None, problems), None)
    if isinstance(node[leaf], CfgNode):
        return f"{name}: is a section, give one of its keys: {', '.join(list(node[leaf])[:6])}"
    try:
        node[leaf] = _convert(value, node[leaf])
    except (TypeError, ValueError):
        shown = repr(value) if len(repr(value)) < 60 else repr(value)[:57] + "..."
        return f"{name}: {shown} is {_kind(_literal(value))}, it takes {_wanted(node[leaf])}"
    return None


def _set_open(cfg: CfgNode, name: str, value: Any) -> str | None:
    """As _set, in the section where new names are allowed; LOSS.PARAMS.LDAM.s makes a section."""
    *sections, leaf = name.split(".")
    node: Any = cfg
    for part in sections:
        if part not in node:
            node[part] = CfgNode(new_allowed=True)
        node = node[part]
        if not isinstance(node, CfgNode):
            return f"{name}: {part} is a value already, not a section"
    value = _literal(value)
    if isinstance(value, dict):
        value = CfgNode({str(k): v for k, v in value.items()}, new_allowed=True)
    node[leaf] = value
    return None


def merge(cfg: CfgNode, config_file: Path, overrides: list[str]) -> list[str]:
    """Merge a YAML file (with its `_BASE_`s) and `KEY VALUE` pairs into `cfg`.

    Returns a line for each bad key. Raises UserError for a file that cannot be read, SecurityError
    for one that must not be.
    """
    problems = []
    for path, content in _chain(config_file):
        for name, value in _leaves(content, cfg):
            problem = _set(cfg, name, value)
            if problem:
                problems.append(f"{path}: {problem}")
    problems += [f"command line: {problem}" for problem in _override(cfg, overrides)]
    return problems


def _override(cfg: CfgNode, overrides: list[str]) -> Iterator[str]:
    words = iter(overrides)
    for name in words:
        key, equals, joined = name.partition("=")
        if equals:  # no key has one: the value is in the same word, and the next word is a key
            yield f"{name}: write `{key} {joined or 'VALUE'}`, with a space"
            continue
        value = next(words, None)
        if value is None:
            yield f"{name}: a key without a value; overrides are KEY VALUE pairs"
        elif problem := _set(cfg, name, value):
            yield problem

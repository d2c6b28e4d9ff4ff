"""What a message can add about a file that is not there: where it may be meant."""

from __future__ import annotations

from pathlib import Path

from actionrec.errors import nearest

# Not resolved: this folder is a link, and meant is the tree that it stands in.
TREE = Path(__file__).absolute().parents[2]


def elsewhere(path: Path) -> str:
    """A hint where `path`, not in the current folder, is in the tree at the same place; or ""."""
    if path.is_absolute() or path.exists() or not (TREE / path).exists():
        return ""
    return f"; paths are relative to the current folder, {Path.cwd()}; first: cd {TREE}"


def missing_config(path: Path) -> str:
    """`no such file: ...` for a configuration, and where it is, or the names most like it."""
    hint = elsewhere(path)
    if not hint:
        folder = path.parent
        if not any(folder.glob("*.yaml")):
            folder = TREE / "configs" / "AK"
        names = nearest(path.name, [file.name for file in folder.glob("*.yaml")])[:3]
        hint = f"; the nearest in {folder} are {', '.join(names)}" if names else ""
    return f"no such file: {path}{hint}"

"""Several processes must be started with the same things: checked before any of them works."""

from __future__ import annotations

import hashlib
from pathlib import Path

import yaml

import actionrec
import losses
from actionrec import launched
from actionrec.engine import distributed
from actionrec.engine.output import flat_settings
from actionrec.types import RunSettings

# Of the configuration, what may differ by machine.
_OF_A_MACHINE = ("SHARD_ID", "DATA.PATH_", "DATA.VIDEO_PREFIX", "OUTPUT_DIR", "DATA_LOADER.")


def require_agreement(settings: RunSettings, hashes: dict[str, str], weights: Path | None) -> None:
    """Raise UserError, in all processes, where one has other inputs than the main one.

    hashes: as `checkpoint.file_hashes` gives them; weights: the checkpoint that the run starts
    from.
    """
    if launched.world_size() == 1:
        return
    facts = {f"sha256 of {name}": value for name, value in hashes.items()}
    facts["sha256 of config"] = _configuration_hash(settings.config_yaml)
    facts["sha256 of the code"] = code_hash()
    facts["checkpoint"] = "none"
    if weights is not None:
        with weights.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        facts["checkpoint"] = f"{weights.name}, sha256 {sha256}"
    distributed.require_agreement(facts)


def _configuration_hash(config_yaml: str) -> str:
    flat = flat_settings(yaml.safe_load(config_yaml))
    lines = [f"{name}: {flat[name]!r}" for name in sorted(flat)]
    shared = [line for line in lines if not line.startswith(_OF_A_MACHINE)]
    return hashlib.sha256("\n".join(shared).encode()).hexdigest()


def code_hash() -> str:
    """sha256 of this project's Python files, 64 hex digits."""
    sha256 = hashlib.sha256()
    for package in (actionrec, losses):
        folder = Path(str(package.__file__)).parent
        for file in sorted(folder.rglob("*.py")):
            sha256.update(f"{file.relative_to(folder)}\n".encode() + file.read_bytes())
    return sha256.hexdigest()

"""A run of Weights & Biases, an optional package that is not among the locked ones."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import yaml

PACKAGE = "wandb"

# What holds unless the user's environment says otherwise: nothing is sent, the log stays ours, and
# with WANDB_MODE=online a lost network keeps the end of a run waiting for a minute at most.
_ENVIRONMENT = {
    "WANDB_MODE": "offline",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_CONSOLE": "off",
    "WANDB_SILENT": "true",
    "WANDB_FINISH_TIMEOUT": "60",
}


def is_installed() -> bool:
    """Whether this Python has the package; it is not imported."""
    return importlib.util.find_spec(PACKAGE) is not None


class WandbRun:
    """One start of a training: resumed ones are runs of their own, in the group of `output_dir`.

    Raises whatever the package raises.
    """

    def __init__(self, project: str, output_dir: Path, config_yaml: str) -> None:
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)  # the package reads some of them as it is imported
        import wandb

        self._run = wandb.init(
            project=project,
            name=output_dir.name,
            group=output_dir.name,
            dir=str(output_dir),
            config=yaml.safe_load(config_yaml),
        )

    def write(self, name: str, value: float, step: int) -> None:
        self._run.log({name: value}, step=step)

    def close(self) -> None:
        self._run.finish()

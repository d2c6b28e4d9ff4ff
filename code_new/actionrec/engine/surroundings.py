"""Where and with what a run works: a line in its log, and its configuration as a file."""

from __future__ import annotations

import logging
import platform
from pathlib import Path

import numpy as np
import torch

from actionrec import launched
from actionrec.atomic_file import atomic_file
from actionrec.engine.agreement import code_hash
from actionrec.types import RunSettings

CONFIG_NAME = "config.yaml"

logger = logging.getLogger(__name__)


def record_surroundings(settings: RunSettings, device: torch.device) -> None:
    """Log the machine and the versions, and write the whole configuration to OUTPUT_DIR.

    Nothing of the environment's variables or of the user is in either.
    """
    gpu = f" ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else ""
    logger.info(
        "Python %s, torch %s, numpy %s, %s; %s cores, %s threads, %s processes, device %s%s; "
        "SlowFast: %s; code %s",
        platform.python_version(),
        torch.__version__,
        np.__version__,
        f"{platform.system()} {platform.machine()}",
        launched.num_cores(),
        torch.get_num_threads(),
        launched.world_size(),
        device,
        gpu,
        settings.base,
        code_hash()[:12],
    )
    if launched.is_main():
        _write_config(settings.output_dir / CONFIG_NAME, settings.config_yaml)


def _write_config(path: Path, config_yaml: str) -> None:
    try:
        with atomic_file(path) as file:
            file.write(config_yaml.encode())
    except OSError as error:
        logger.warning("%s: not written (%s)", path, error.strerror)

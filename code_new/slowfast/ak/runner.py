"""From a configuration to a run: which engine does it, and with which model."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from fvcore.common.config import CfgNode

from actionrec import launched
from actionrec.data import DATASETS
from actionrec.errors import UserError, nearest
from slowfast.ak import base
from slowfast.ak.choices import num_processes
from slowfast.ak.config import merge
from slowfast.ak.settings import make_settings

PICTURES = ("DEMO", "TENSORBOARD.MODEL_VIS", "TENSORBOARD.WRONG_PRED_VIS")  # of upstream alone


def choose_engine(cfg: CfgNode, base_kind: str) -> str:
    """`ours` or `upstream`. Raises UserError where the phases disagree or the base lacks it.

    `auto` takes ours for the data sets that it reads, else upstream's tools, which only git has.
    Phases that are not enabled do not count; where none is, upstream may still make pictures.
    """
    enabled = [phase for phase in ("TRAIN", "TEST") if cfg[phase].ENABLE]
    names = {phase: cfg[phase].DATASET for phase in enabled}
    ours = {phase: name.lower() in DATASETS for phase, name in names.items()}
    shown = " and ".join(f"{phase}.DATASET {name!r}" for phase, name in names.items())
    readable = sorted({*DATASETS, *base.upstream_datasets()})
    unknown = [name for name in names.values() if name.lower() not in readable]
    if unknown:
        known = ", ".join(nearest(unknown[0], readable))
        raise UserError(f"{shown}: unknown data set; known: {known}; docs/extending.md adds one")
    if not enabled:
        if base_kind == "git" and any(_is_on(cfg, name) for name in PICTURES):
            return "upstream"
        raise UserError("TRAIN.ENABLE and TEST.ENABLE are both False: there is nothing to do")
    if any(ours.values()) and not all(ours.values()):
        raise UserError(f"{shown} need two different engines; run them one after the other")
    fitting = "ours" if all(ours.values()) else "upstream"
    engine = fitting if cfg.ENGINE == "auto" else cfg.ENGINE
    if engine == "ours" and not all(ours.values()):
        raise UserError(f"{shown}: ENGINE ours reads {', '.join(DATASETS)}")
    if engine == "upstream" and base_kind != "git":
        raise UserError(
            f"{shown}: this needs upstream's own tools, which the git base has "
            f"(prepare_dir_AR.sh --upstream git); ours reads {', '.join(DATASETS)}"
        )
    return engine


def _is_on(cfg: CfgNode, section: str) -> bool:
    for part in section.split("."):
        cfg = cfg[part]
    return bool(cfg.ENABLE)


def main(
    config_file: Path, overrides: list[str], init_method: str = "", command: Sequence[str] = ()
) -> int:
    """Train and test as the configuration says; returns the exit status.

    init_method: where several machines meet, `tcp://host:port`; command: the script and its
    arguments, to start it again in several processes. Raises UserError for what a user can mend.
    """
    cfg = base.default_config()
    problems = merge(cfg, config_file, overrides)
    try:
        engine = choose_engine(cfg, base.kind())
    except UserError as error:
        raise UserError("\n".join([*problems, str(error)])) from None
    if engine == "upstream":
        from slowfast.ak import upstream

        if launched.world_size() > 1:
            raise UserError(
                "ENGINE upstream: SlowFast's own loop starts its processes itself; run it without "
                "torchrun, NUM_GPUS says how many"
            )
        upstream.run(cfg, problems, init_method)
        return 0
    settings = make_settings(cfg, problems)
    if not launched.is_launched() and num_processes(cfg) > 1:
        from actionrec.engine.launch import launch

        return launch(
            command,
            processes=max(cfg.NUM_GPUS, 1),
            machines=cfg.NUM_SHARDS,
            machine=cfg.SHARD_ID,
            meeting_point=init_method,
            timeout_sec=cfg.DIST_TIMEOUT_SEC,
        )
    if launched.world_size() > 1 and settings.device == "cpu":
        # torch, which reads this as it is imported, would warn of what train_step.py means to do.
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    from actionrec.engine.run import run  # imports torch, after every check that does not need it

    run(settings, lambda: base.build_model(cfg))
    return 0

"""From a configuration to a run: which engine does it, and with which model."""

from __future__ import annotations

from pathlib import Path

from fvcore.common.config import CfgNode

from actionrec.data import DATASETS
from actionrec.errors import UserError
from slowfast.ak import base
from slowfast.ak.config import merge
from slowfast.ak.settings import make_settings


def choose_engine(cfg: CfgNode, base_kind: str) -> str:
    """`ours` or `upstream`. Raises UserError when the phases disagree or the base lacks it.

    `auto` takes ours for the data sets that it reads, else upstream's tools, which only git has.
    """
    enabled = [phase for phase in ("TRAIN", "TEST") if cfg[phase].ENABLE]
    names = {phase: cfg[phase].DATASET for phase in enabled}
    ours = {phase: name.lower() in DATASETS for phase, name in names.items()}
    shown = " and ".join(f"{phase}.DATASET {name!r}" for phase, name in names.items())
    if cfg.ENGINE != "auto":
        engine = cfg.ENGINE
    elif all(ours.values()):
        engine = "ours"
    elif any(ours.values()):
        raise UserError(f"{shown} need two different engines; run them one after the other")
    else:
        engine = "upstream"
    if engine == "ours" and not all(ours.values()):
        raise UserError(f"{shown}: ENGINE ours reads {', '.join(DATASETS.names())}")
    if engine == "upstream" and base_kind != "git":
        raise UserError(
            f"{shown}: this needs upstream's own tools, which the git base has "
            f"(prepare_dir_AR.sh --upstream git); ours reads {', '.join(DATASETS.names())}"
        )
    return engine


def main(config_file: Path, overrides: list[str]) -> None:
    """Train and test as the configuration says. Raises UserError for what a user can mend."""
    cfg = base.default_config()
    problems = merge(cfg, config_file, overrides)
    try:
        engine = choose_engine(cfg, base.kind())
    except UserError as error:
        raise UserError("\n".join([*problems, str(error)])) from None
    if engine == "upstream":
        raise UserError("ENGINE: upstream's own loop is not available yet")
    settings = make_settings(cfg, problems)
    from actionrec.engine.run import run  # imports torch, after every check that does not need it

    run(settings, lambda: base.build_model(cfg))

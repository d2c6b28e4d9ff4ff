"""A sweep of losses: from its file to runs, or heads on features, and their table."""

from __future__ import annotations

import functools
import hashlib
import itertools
import shlex
import sys
from pathlib import Path
from typing import NamedTuple

from fvcore.common.config import CfgNode

from actionrec.data.splits import load_splits
from actionrec.engine import checkpoint, distributed
from actionrec.engine.criterion import check_loss
from actionrec.engine.output import prepare_output
from actionrec.engine.scores_file import Scores
from actionrec.errors import Incomplete, UserError, first_few
from actionrec.sweep import features, heads, result_files
from actionrec.sweep.comparison import Comparison, compare
from actionrec.sweep.runs import Run, RunQueue
from actionrec.sweep.sweep_file import Sweep, parse_sweep
from actionrec.types import LossSettings, RunSettings
from slowfast.ak import base
from slowfast.ak.config import merge, read_yaml
from slowfast.ak.runner import choose_engine
from slowfast.ak.settings import make_settings

WHOLE_RUNS = "Losses compared: whole runs"
HEADS = "Losses compared: linear heads on the features of a fixed backbone, centre view"


class Planned(NamedTuple):
    """A run of the sweep, or a head in its place, with the settings that it has."""

    run: Run
    settings: RunSettings
    cfg: CfgNode


def read_sweep(path: Path) -> Sweep:
    """Raises UserError, a line a mistake; SecurityError for what is not plain YAML."""
    return parse_sweep(read_yaml(path, "sweep file"), path)


def plan(sweep: Sweep, folder: Path, script: Path) -> list[Planned]:
    """Every run, in the order of the file, below `folder`; script: run_net.py of this tree.

    Raises UserError with a line for each mistake in a configuration, an override or a loss.
    """
    planned: list[Planned] = []
    problems: list[str] = []
    for model, config in sweep.models.items():
        wrong: dict[str, list[str]] = {}  # what is wrong -> the losses that it is wrong with
        files: dict[str, str] = {}
        for label, seed in itertools.product(sweep.losses, sweep.seeds):
            place = folder / model / label / f"seed_{seed}"
            overrides = _overrides(sweep, label, seed, place)
            try:
                cfg, settings = _settings(config, overrides)
            except UserError as error:
                for line in str(error).splitlines():
                    wrong.setdefault(line, []).append(label)
                continue
            files = files or checkpoint.file_hashes(settings)  # large, and alike for all
            config_hash = hashlib.sha256(settings.config_yaml.encode()).hexdigest()
            command = (sys.executable, str(script), "--cfg", str(config), *overrides)
            run = Run(model, label, seed, place, {**files, "config": config_hash}, command)
            planned.append(Planned(run, settings, cfg))
        for line, labels in wrong.items():
            labels = list(dict.fromkeys(labels))
            which = "" if len(labels) == len(sweep.losses) else f"/{first_few(labels)}"
            problems.append(f"{model}{which}: {line}")
    if problems:
        raise UserError("\n".join(problems))
    return planned


def _overrides(sweep: Sweep, label: str, seed: int, place: Path) -> list[str]:
    loss = sweep.losses[label]
    pairs = {
        **sweep.overrides,
        "MODEL.LOSS_FUNC": loss.name,
        **{f"LOSS.PARAMS.{name}": value for name, value in loss.params.items()},
        "RNG_SEED": seed,
        "TEST.SAVE_RESULTS_PATH": "results.pkl",
        "OUTPUT_DIR": place,
    }
    return [str(word) for pair in pairs.items() for word in pair]


def _settings(config: Path, overrides: list[str]) -> tuple[CfgNode, RunSettings]:
    cfg = base.default_config()
    problems = merge(cfg, config, overrides)
    try:
        check_loss(LossSettings(cfg.MODEL.LOSS_FUNC, dict(cfg.LOSS.PARAMS)))
    except UserError as error:
        problems.append(str(error))
    if not (cfg.TRAIN.ENABLE and cfg.TEST.ENABLE):
        problems.append("TRAIN.ENABLE, TEST.ENABLE: a sweep trains and tests; set both True")
    settings = make_settings(cfg, problems)
    if choose_engine(cfg, base.kind()) != "ours":
        raise UserError("ENGINE: upstream leaves no scores that a sweep could read; use auto")
    return cfg, settings


def main(path: Path, *, with_features: bool, jobs: int, dry_run: bool, script: Path) -> int:
    """Do what is not done yet of the sweep at `path`, and compare. Raises UserError.

    Incomplete where runs failed; the table is over the others.
    """
    sweep = read_sweep(path)
    folder = sweep.output / "features" if with_features else sweep.output
    planned = plan(sweep, folder, script)
    weights = _weights(sweep, planned) if with_features else {}
    if dry_run:
        print("\n".join(_to_do(each.run, with_features) for each in planned))
        return 0
    prepare_output(folder)
    if with_features:
        failed, measured = [], _train_heads(sweep, planned, weights, folder)
    else:
        runs = [each.run for each in planned]
        failed = RunQueue(runs, jobs).work()
        measured = {run: scores for run in runs if (scores := run.scores()) is not None}
    comparisons = _compare(sweep, planned, measured)
    if comparisons:
        what = HEADS if with_features else WHOLE_RUNS
        files = result_files.write_results(folder, comparisons, what)
        print("\n" + result_files.markdown(comparisons, what))
        print("\n".join(str(file) for file in files))
    if failed:
        raise Incomplete(
            f"{len(measured)} of {len(planned)} runs are done; failed: {first_few(failed)}; the "
            "table is over the others, and the same command tries them again"
        )
    return 0


def _to_do(run: Run, with_features: bool) -> str:
    if with_features:
        return f"a head for {run.name}"
    return f"{run.name} is finished" if run.scores() else shlex.join(run.command)


def _compare(sweep: Sweep, planned: list[Planned], measured: dict[Run, Scores]) -> list[Comparison]:
    """A comparison for each model whose baseline has a run."""
    comparisons = []
    for model in sweep.models:
        settings = next(each.settings for each in planned if each.run.model == model)
        scores: dict[str, list[Scores]] = {}
        for run, one in measured.items():
            if run.model == model:
                scores.setdefault(run.loss, []).append(one)
        if sweep.baseline not in scores:
            print(f"{model}: no table, as no run of the baseline {sweep.baseline} is done")
            continue
        segments = load_splits(settings).segments
        comparisons.append(compare(model, scores, sweep.baseline, segments))
    return comparisons


def _weights(sweep: Sweep, planned: list[Planned]) -> dict[str, Path]:
    """The checkpoint of each model's backbone: of the sweep file, else of its configuration."""
    found, problems = {}, []
    for model in sweep.models:
        settings = next(each.settings for each in planned if each.run.model == model)
        path = sweep.weights.get(model) or settings.train.checkpoint or settings.test.checkpoint
        if path is None:
            problems.append(
                f"weights.{model}: is missing; name the checkpoint of a trained run, as in "
                f"weights: {{{model}: results/demo/checkpoints/best.pyth}}"
            )
        elif not path.is_file():
            problems.append(f"weights.{model}: no such file: {path}")
        else:
            found[model] = path
    if problems:
        raise UserError("\n".join(problems))
    return found


def _train_heads(
    sweep: Sweep, planned: list[Planned], weights: dict[str, Path], folder: Path
) -> dict[Run, Scores]:
    measured: dict[Run, Scores] = {}
    for model, path in weights.items():
        of_model = [each for each in planned if each.run.model == model]
        _, settings, cfg = of_model[0]
        device = distributed.start(
            settings.device, settings.dist_backend, settings.dist_timeout_sec
        )
        splits = load_splits(settings)
        prepare_output(folder / model)
        place = folder / model / features.FILE_NAME
        build = functools.partial(base.build_model, cfg)
        given = features.cached_features(place, settings, splits, path, build)
        runs = [(each.run, each.settings.loss) for each in of_model]
        measured |= heads.train_heads(runs, given, splits, sweep.head, str(device))
    return measured

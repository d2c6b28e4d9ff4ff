"""docs/configs.md, made from the tables of keys: `python -m slowfast.ak.documentation`."""

from __future__ import annotations

from collections.abc import Iterator

from slowfast.ak.wheel_keys import WHEEL_KEYS
from slowfast.config.custom_config import KEYS, Key

HEAD = """# Configuration

A configuration is a YAML file in `configs/AK/`; `_BASE_` names the file that it changes. Any key
can be overridden on the command line, with or without `--opts`:

    python tools/run_net.py --cfg configs/AK/SLOWFAST_8x8_R50.yaml \\
        MODEL.LOSS_FUNC LDAM LOSS.PARAMS.max_m 0.3 OUTPUT_DIR results/AK/ldam

SlowFast's own keys keep their names and meaning, but for TEST.BATCH_SIZE: it is of each process,
and of the validation too. A key that does not exist, has the wrong type, cannot be used or would
have no effect is reported, all of them together, before anything is loaded.
A run whose OUTPUT_DIR holds checkpoints goes on from the newest; with other settings it is refused.
Initial weights (TRAIN.CHECKPOINT_FILE_PATH) always start at epoch 1 with a new optimizer. Paths
are relative to the folder that the command is given in (`SlowFast/`).

`configs/AK/base.yaml` holds what all runs share; one file a model changes that, one file a loss
changes the model's. This page is made by `python -m slowfast.ak.documentation` inside the prepared
tree.
"""


def _table(keys: dict[str, Key]) -> Iterator[str]:
    yield "| key | type | default | unit or values | meaning |"
    yield "|---|---|---|---|---|"
    for name, key in keys.items():
        kind = "text" if isinstance(key.default, str) else type(key.default).__name__
        default = f"`{key.default!r}`" if key.default != "" else "empty"
        yield f"| `{name}` | {kind} | {default} | {key.unit or '-'} | {key.meaning} |"


def page() -> str:
    """The whole of docs/configs.md."""
    lines = [
        HEAD,
        "## Keys of this project",
        "",
        *_table(KEYS),
        "",
        "## Keys of SlowFast that the package of the index lacks",
        "",
        "They mean what they mean in SlowFast, and have its defaults.",
        "",
        *_table(WHEEL_KEYS),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(page(), end="")

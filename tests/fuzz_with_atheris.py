"""Any bytes as an annotation, made so that they reach new lines of the reader.

    python tests/fuzz_with_atheris.py FOLDER -runs=1000000

Further options are libFuzzer's. FOLDER, a new one, keeps the inputs; one that fails is crash-*.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import atheris

sys.path.append(str(Path(__file__).resolve().parents[1] / "code_new"))
with atheris.instrument_imports(include=["actionrec"]):
    from fuzz_annotations import annotation, check


def main(folder: Path, options: list[str]) -> None:
    inputs = folder / "inputs"
    inputs.mkdir(parents=True)
    for seed in range(50):
        rng = random.Random(seed)  # noqa: S311
        (inputs / str(seed)).write_bytes(annotation(rng))
    path = folder / "train.csv"
    ours = ["-max_len=4096", "-seed=1", f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], *ours, *options, str(inputs)], lambda data: check(path, data))
    atheris.Fuzz()  # ends the process


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

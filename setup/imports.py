"""Says which Python, torch and packages there are, and whether the overlay's own import from it.

Run by prepare_dir_AR.sh in a prepared tree, with the overlay's folder as the argument. One line on
stderr for each problem; exit status 1 when there was one.
"""

import importlib
import importlib.metadata
import platform
import sys
from pathlib import Path

REPORTED = ("numpy", "av", "opencv-python-headless", "fvcore", "tensorboard", "torchvision")


def version(package: str) -> str:
    """What is installed of `package`, or a word for nothing."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def describe_torch() -> str:
    """The version of torch and the devices it sees. Raises ImportError when it does not load."""
    import torch

    if not torch.cuda.is_available():
        return f"torch {torch.__version__} (CPU)"
    return f"torch {torch.__version__} (CUDA {torch.version.cuda}, {torch.cuda.device_count()} GPU)"


def problem_with(name: str, home: Path) -> str | None:
    """What is wrong with the package `name`, which must come from the folder `home`."""
    try:
        found = Path(importlib.import_module(name).__path__[0])
    except Exception as error:  # whatever a broken package raises is the finding
        return f"import {name}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"
    if found.resolve() != home.resolve():
        return f"import {name} takes {found} instead of {home}; look at PYTHONPATH"
    return None


def main(overlay: Path, tree: Path) -> int:
    """Print the report; the number of problems, at most 1."""
    sys.path[0] = str(tree)  # as for a script or a module that runs in the tree
    problems = []
    try:
        print(f"  python {platform.python_version()}, {describe_torch()}")
    except (ImportError, OSError) as error:
        problems.append(f"import torch: {str(error).partition(chr(10))[0]}; run this script again")
    print("  " + ", ".join(f"{name} {version(name)}" for name in REPORTED))
    homes = {
        "slowfast": tree / "slowfast",
        "losses": overlay / "losses",
        "actionrec": overlay / "code_new/actionrec",
    }
    problems += filter(None, (problem_with(name, home) for name, home in homes.items()))
    for problem in problems:
        print(f"prepare_dir_AR: problem: {problem}", file=sys.stderr)
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path.cwd()))

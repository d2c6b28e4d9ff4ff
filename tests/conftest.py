"""What tests share: where packages come from, the prepared tree, the real data, the command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Generator
from pathlib import Path

import pytest
from hypothesis import settings

REPO = Path(__file__).resolve().parents[1]
TREE = REPO / ".trees" / "wheel"
GIT_TREE = REPO / ".trees" / "git"


def _is_prepared(tree: Path, builder: str) -> bool:
    """Whether `tree` holds SlowFast and is linked to this overlay, not to another one."""
    links = {"losses": REPO / "losses", "actionrec": REPO / "code_new" / "actionrec"}
    return (tree / "slowfast/models" / builder).is_file() and all(
        (tree / name).resolve() == home for name, home in links.items()
    )


# code_new holds a part of the package slowfast: it comes after everything else, or not at all.
if _is_prepared(TREE, "model_builder.py"):
    sys.path.insert(0, str(TREE))
else:
    sys.path[:] = [p for p in sys.path if Path(p).resolve() not in (REPO, REPO / "code_new")]
    sys.path.insert(0, str(REPO))
    sys.path.append(str(REPO / "code_new"))

# Fixtures of two modules, which also import from it: pytest wants to know before they do.
pytest.register_assert_rewrite("index_files")

settings.register_profile("here", derandomize=True, deadline=None, database=None)
settings.load_profile("here")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tests log names that are no UTF-8; what processes of pytest tell one another must be."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def repo() -> Path:
    """The root of the project."""
    return REPO


@pytest.fixture(scope="session")
def tree() -> Path:
    """The tree that prepare_dir_AR.sh made for the tests, with SlowFast from the package index."""
    if not _is_prepared(TREE, "model_builder.py"):
        pytest.skip("no prepared tree in .trees/wheel; bash tests/run.sh makes it")
    return TREE


@pytest.fixture(scope="session")
def git_base() -> Path:
    """The same, with SlowFast from its repository, where that answered."""
    if not _is_prepared(GIT_TREE, "build.py"):
        pytest.skip("no prepared tree in .trees/git; bash tests/run.sh --upstream git makes it")
    return GIT_TREE


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the official Animal Kingdom workbooks."""
    folder = REPO.parent / "shared" / "data" / "animal_kingdom"
    if not folder.is_dir():
        pytest.skip("no Animal Kingdom workbooks beside the project")
    return folder


RunNet = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def run_net() -> RunNet:
    """run_net(tree, *args): `python tools/run_net.py *args` in the tree, as a user types it."""

    def run(
        tree: Path, *args: str | Path, timeout_sec: float = 300, **env: str
    ) -> subprocess.CompletedProcess[str]:
        outside = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        return subprocess.run(
            [sys.executable, "tools/run_net.py", *map(str, args)],
            cwd=tree,
            env={**outside, **env},
            capture_output=True,
            text=True,
            timeout=timeout_sec,
        )

    return run


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 training and 9 validation clips of three colours, see tiny_run.py; not to be changed."""
    from tiny_run import write_split

    root = tmp_path_factory.mktemp("clips")
    write_split(root, "train", 18, seed=0)
    write_split(root, "val", 9, seed=1)
    return root

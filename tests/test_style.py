"""The tools that check style find nothing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = ("prepare_dir_AR.sh", "tests/run.sh", ".ci/run")


def tool(name: str) -> str:
    """The path of a command of this environment."""
    found = shutil.which(name, path=str(Path(sys.executable).parent)) or shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed; prepare_dir_AR.sh --dev brings it")
    return found


def check(repo: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=repo, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_ruff_finds_nothing(repo: Path) -> None:
    check(repo, tool("ruff"), "check", "--no-cache", ".")


def test_ruff_would_format_nothing(repo: Path) -> None:
    check(repo, tool("ruff"), "format", "--check", "--no-cache", ".")


def test_mypy_finds_nothing(repo: Path) -> None:
    check(repo, tool("mypy"), "--no-incremental")


def test_shellcheck_finds_nothing(repo: Path) -> None:
    check(repo, tool("shellcheck"), "-x", "-S", "style", *SCRIPTS)


def test_no_line_of_a_script_is_longer_than_100_columns(repo: Path) -> None:
    scripts = [*(repo / name for name in SCRIPTS), *(repo / "setup").glob("*.sh")]
    long = [
        f"{path.name}:{number}"
        for path in scripts
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if len(line) > 100
    ]
    assert long == []


def test_locks_name_no_place_to_fetch_from(repo: Path) -> None:
    for name in ("requirements.lock", "requirements-git.lock", "requirements-dev.lock"):
        text = (repo / name).read_text()
        assert "://" not in text and "find-links" not in text, name
        pinned = [line for line in text.splitlines() if line and line[0].isalnum()]
        assert pinned and all("==" in line and line.endswith("\\") for line in pinned), name
        assert not any(line.startswith(("torch==", "torchvision==")) for line in pinned), name

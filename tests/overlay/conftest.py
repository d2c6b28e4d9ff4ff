"""A small overlay with the real script, small trees of SlowFast, and what compares them."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
OVERLAY_FILES = (
    "code_new/slowfast/__init__.py",
    "code_new/slowfast/_compat.py",
    "code_new/slowfast/config/custom_config.py",
    "code_new/slowfast/models/losses.py",
    "code_new/slowfast/ak/__init__.py",
    "code_new/slowfast/__pycache__/never.pyc",
    "code_new/tools/run_net.py",
    "code_new/tools/report.py",
    "code_new/actionrec/__init__.py",
    "losses/__init__.py",
    "configs/AK/base.yaml",
)
# What SlowFast brings, by base: enough of it for the script to know the base and to link into it.
UPSTREAM_FILES = {
    "git": (
        "slowfast/__init__.py",
        "slowfast/config/__init__.py",
        "slowfast/config/custom_config.py",
        "slowfast/models/build.py",
        "slowfast/models/losses.py",
        "tools/run_net.py",
        "tools/test_net.py",
        "configs/Kinetics/C2D.yaml",
    ),
    "wheel": (
        "slowfast/__init__.py",
        "slowfast/config/__init__.py",
        "slowfast/models/losses.py",
        "slowfast/models/model_builder.py",
    ),
}

Done = subprocess.CompletedProcess


def git(folder: Path, *args: str) -> str:
    """What `git ARGS` prints in `folder`, without the user's own settings."""
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false")
    command = ["git", *identity, "-C", str(folder), *args]
    try:
        done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        pytest.skip("git is not installed, or does not answer")
    return done.stdout


def snapshot(folder: Path, *, times: bool = False) -> dict[str, tuple[object, ...]]:
    """Every path in `folder` with its mode and content; with `times` its inode and mtime too."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted(folder.rglob("*")):
        if ".git" in path.relative_to(folder).parts:
            continue
        stat = path.lstat()
        is_file = path.is_file() and not path.is_symlink()
        content = path.readlink() if path.is_symlink() else path.read_bytes() if is_file else ""
        when = (stat.st_ino, stat.st_mtime_ns) if times else ()
        found[str(path.relative_to(folder))] = (stat.st_mode, content, *when)
    return found


def make_tree(root: Path, base: str) -> Path:
    """A clean tree: `git`, committed, or `wheel`, with the package's record of hashes."""
    record = []
    for name in UPSTREAM_FILES[base]:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# the original of {name}\n")
        digest = base64.urlsafe_b64encode(hashlib.sha256(path.read_bytes()).digest()).decode()
        record.append(f"{name},sha256={digest.rstrip('=')},{path.stat().st_size}\n")
    if base == "git":
        git(root, "init", "-q")
        git(root, "add", "-A")
        git(root, "commit", "-q", "-m", "upstream")
    else:
        (root / "slowfast-1.0.dist-info").mkdir()
        (root / "slowfast-1.0.dist-info/RECORD").write_text("".join(record))
    return root


@dataclass(frozen=True)
class Overlay:
    """A copy of the overlay's script with a few files to link."""

    root: Path

    def command(self, *args: str | Path) -> list[str]:
        return ["bash", str(self.root / "prepare_dir_AR.sh"), *map(str, args)]

    def run(self, *args: str | Path, cwd: Path | None = None, **env: str) -> Done[str]:
        """The script with these options, captured."""
        return subprocess.run(
            self.command(*args),
            cwd=cwd or self.root.parent,
            env=self.env(**env),
            capture_output=True,
            text=True,
            timeout=120,
        )

    @staticmethod
    def env(**env: str) -> dict[str, str]:
        outside = {k: v for k, v in os.environ.items() if not k.startswith(("DIR_", "PYTHON"))}
        return {**outside, "PYTHON": sys.executable, **env}

    def link(self, tree: Path, *args: str | Path, **env: str) -> Done[str]:
        """Only the links, in a tree that is there, at whatever commit."""
        steps = ("--skip", "environment", "--skip", "check", "--env", "current", "--any-commit")
        return self.run(*steps, "--slowfast", tree, *args, **env)

    def undo(self, tree: Path, **env: str) -> Done[str]:
        return self.run("--undo", "--slowfast", tree, **env)


def make_overlay(root: Path) -> Overlay:
    for name in OVERLAY_FILES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# the overlay's {name}\n")
    shutil.copy(REPO / "prepare_dir_AR.sh", root)
    shutil.copytree(REPO / "setup", root / "setup", ignore=shutil.ignore_patterns("__pycache__"))
    return Overlay(root)


@pytest.fixture
def overlay(tmp_path: Path) -> Overlay:
    return make_overlay(tmp_path / "overlay")


@pytest.fixture(params=["git", "wheel"])
def slowfast(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A clean tree, once of each base."""
    return make_tree(tmp_path / "SlowFast", request.param)


@pytest.fixture
def git_tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "SlowFast", "git")


@pytest.fixture
def wheel_tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "SlowFast", "wheel")


@pytest.fixture(name="snapshot")
def snapshot_fixture() -> Callable[..., dict[str, tuple[object, ...]]]:
    return snapshot


@pytest.fixture(name="git")
def git_fixture() -> Callable[..., str]:
    return git


@pytest.fixture(name="make_tree")
def make_tree_fixture() -> Callable[[Path, str], Path]:
    return make_tree


@pytest.fixture(name="make_overlay")
def make_overlay_fixture() -> Callable[[Path], Overlay]:
    return make_overlay

"""SlowFast from its repository: the pinned commit or nothing; other checkouts when told so."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

import pytest

STEPS = ("--skip", "environment", "--skip", "check", "--env", "current")


class Hub:
    """A repository in the place of GitHub's, and an overlay that is pinned to it."""

    def __init__(self, folder: Path, overlay, make_tree, git) -> None:
        self.repo, self.overlay, self.git = make_tree(folder / "hub", "git"), overlay, git
        (self.repo / "demo").mkdir()
        (self.repo / "demo/large.gif").write_bytes(b"0" * 1000)
        git(self.repo, "add", "-A")
        git(self.repo, "commit", "-q", "-m", "pinned")
        self.commit = git(self.repo, "rev-parse", "HEAD").strip()
        self.pin("GIT_COMMIT", self.commit)
        self.pin("GIT_TREE", git(self.repo, "rev-parse", "HEAD^{tree}").strip())
        git(self.repo, "commit", "-q", "--allow-empty", "-m", "newer")
        self.pin("GIT_URL", shlex.quote(str(self.repo)))
        self.config = folder / "gitconfig"
        self.config.write_text("")

    def pin(self, name: str, value: str) -> None:
        path = self.overlay.root / "setup/upstream.sh"
        lines = path.read_text().splitlines(keepends=True)
        start = f"readonly {name}="
        path.write_text("".join(f"{start}{value}\n" if x.startswith(start) else x for x in lines))

    def run(self, tree: Path, *args: str, **env: str):
        env = {"GIT_CONFIG_GLOBAL": str(self.config), **env}
        return self.overlay.run(*STEPS, "--into", tree, *args, **env)


@pytest.fixture
def hub(tmp_path, overlay, make_tree, git) -> Hub:
    return Hub(tmp_path, overlay, make_tree, git)


def one_line(done, *parts: str) -> None:
    assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    for part in parts:
        assert part in done.stderr, done.stderr


@pytest.mark.parametrize("base", ["git", "auto"])
def test_the_pinned_commit_without_the_demo_images(base, hub, tmp_path, git, snapshot):
    tree = tmp_path / "a tree"
    done = hub.run(tree, "--upstream", base)
    assert done.returncode == 0, done.stderr
    assert git(tree, "rev-parse", "HEAD").strip() == hub.commit
    assert not (tree / "demo").exists() and (tree / "losses").is_symlink()
    before = snapshot(tree, times=True)
    again = hub.run(tree)
    assert again.returncode == 0 and "keeps the git base" in again.stdout
    assert snapshot(tree, times=True) == before
    assert hub.overlay.undo(tree).returncode == 0
    assert git(tree, "status", "--porcelain") == ""


def test_auto_takes_the_package_where_git_does_not_answer_and_says_why(hub, tmp_path):
    hub.pin("GIT_URL", shlex.quote(str(tmp_path / "nowhere")))
    done = hub.run(tmp_path / "tree", "--dry-run")
    assert "auto takes the package slowfast==1.0" in done.stdout
    assert "does not answer" in done.stdout and "it lacks" in done.stdout
    assert "would unpack slowfast==1.0" in done.stdout
    done = hub.run(tmp_path / "tree", "--upstream", "git")
    assert done.returncode == 75 and len(done.stderr.splitlines()) == 1
    assert "does not answer" in done.stderr and "--upstream wheel" in done.stderr
    assert not (tmp_path / "tree").exists()


def test_a_repository_that_answers_slowly_is_not_waited_for(hub, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text("#!/bin/sh\nexec sleep 60\n")
    (tmp_path / "bin/git").chmod(0o755)
    hub.pin("GIT_PATIENCE", "1")
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = hub.run(tmp_path / "tree", "--dry-run", PATH=path)
    assert "does not answer (not within 1 s)" in done.stdout


def test_a_commit_that_the_repository_lacks(hub, tmp_path):
    hub.pin("GIT_COMMIT", "0" * 39 + "1")
    done = hub.run(tmp_path / "tree", "--upstream", "git")
    assert done.returncode == 75 and "git cannot bring" in done.stderr
    assert not (tmp_path / "tree/slowfast").exists()


def test_another_content_under_the_pin_is_refused_and_not_kept(hub, tmp_path):
    hub.pin("GIT_TREE", "0" * 40)
    done = hub.run(tmp_path / "tree", "--upstream", "git")
    assert done.returncode == 4 and "nothing was kept" in done.stderr
    assert list((tmp_path / "tree").iterdir()) == []


def test_a_clone_that_was_cut_short_is_completed(hub, tmp_path, snapshot, git):
    tree = tmp_path / "tree"
    assert hub.run(tree, "--upstream", "git").returncode == 0
    whole = snapshot(tree)
    hub.overlay.undo(tree)
    shutil.rmtree(tree / "slowfast")  # it comes last
    shutil.rmtree(tree / "tools")
    one_line(hub.run(tree, "--upstream", "wheel"), "a clone that was cut short", "--upstream git")
    assert hub.run(tree, "--upstream", "git").returncode == 0
    assert snapshot(tree) == whole


def test_what_lies_in_the_way_is_named_and_stays(hub, tmp_path, snapshot):
    tree = tmp_path / "tree"
    (tree / "tools").mkdir(parents=True)
    (tree / "tools/mine.py").write_text("mine")
    before = snapshot(tree)
    one_line(hub.run(tree, "--upstream", "git"), f"'{tree}/tools' is in the way", "--into")
    assert snapshot(tree) == before


def test_a_users_line_endings_and_hooks_do_not_reach_the_tree(hub, tmp_path, git):
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "post-checkout").write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
    (hooks / "post-checkout").chmod(0o755)
    (tmp_path / "attributes").write_text("* text eol=crlf\n")
    with hub.config.open("a") as file:
        file.write(f"[core]\n\tautocrlf = true\n\thooksPath = {hooks}\n")
        file.write(f"\tattributesFile = {tmp_path / 'attributes'}\n")
    assert hub.run(tmp_path / "tree", "--upstream", "git").returncode == 0
    assert b"\r" not in (tmp_path / "tree/slowfast/models/build.py").read_bytes()
    assert not (tmp_path / "ran").exists()


def checkout(hub: Hub, folder: Path, commit: str, *options: str) -> Path:
    hub.git(folder.parent, "clone", "-q", *options, f"file://{hub.repo}", str(folder))
    hub.git(folder, "checkout", "-q", commit)
    return folder


def test_a_checkout_at_the_pin_is_taken_whatever_its_kind(hub, tmp_path):
    detached = checkout(hub, tmp_path / "detached", hub.commit)
    worktree = tmp_path / "worktree"
    hub.git(detached, "worktree", "add", "-q", "--detach", str(worktree), hub.commit)
    hub.git(hub.repo, "branch", "pin", hub.commit)
    shallow = checkout(hub, tmp_path / "shallow", "pin", "--depth", "1", "--branch", "pin")
    for folder in (detached, worktree, shallow):
        done = hub.overlay.run(*STEPS, "--slowfast", folder)
        assert done.returncode == 0, done.stderr
        assert (folder / "losses").is_symlink()


def test_another_commit_is_refused_unless_asked_for(hub, tmp_path, snapshot):
    newer = checkout(hub, tmp_path / "newer", "HEAD")
    before = snapshot(newer)
    done = hub.overlay.run(*STEPS, "--slowfast", newer)
    one_line(done, "is at commit", hub.commit[:7], f"checkout {hub.commit}", "--any-commit")
    assert snapshot(newer) == before
    assert hub.overlay.run(*STEPS, "--slowfast", newer, "--any-commit").returncode == 0
    check = hub.overlay.run("--check", "--env", "current", "--slowfast", newer)
    assert "problem: " in check.stderr and "is at commit" in check.stderr


def test_the_newest_slowfast_is_known_by_what_it_imports(hub, tmp_path):
    newer = checkout(hub, tmp_path / "newer", "HEAD")
    (newer / "tools/run_net.py").write_text("from vision.fair.slowfast import demo\n")
    done = hub.overlay.run(*STEPS, "--slowfast", newer)
    one_line(done, "a newer SlowFast that imports a package internal to its authors")


def test_a_folder_without_its_git_is_taken_only_when_asked_for(hub, tmp_path):
    copy = checkout(hub, tmp_path / "copy", hub.commit)
    shutil.rmtree(copy / ".git")
    one_line(hub.overlay.run(*STEPS, "--slowfast", copy), "no git checkout", "--any-commit")
    assert hub.overlay.run(*STEPS, "--slowfast", copy, "--any-commit").returncode == 0


def test_a_git_that_refuses_the_tree_is_quoted(hub, tmp_path):
    tree = checkout(hub, tmp_path / "mine", hub.commit)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text("#!/bin/sh\necho 'fatal: dubious ownership' >&2\nexit 128\n")
    (tmp_path / "bin/git").chmod(0o755)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    done = hub.overlay.run(*STEPS, "--slowfast", tree, PATH=path)
    one_line(done, "fatal: dubious ownership", "--any-commit")
    check = hub.overlay.run("--check", "--env", "current", "--slowfast", tree, PATH=path)
    assert check.returncode == 2 and "fatal: dubious ownership" in check.stderr


def test_a_repository_that_calls_the_script_is_left_alone(hub, tmp_path, make_tree, snapshot):
    caller = make_tree(tmp_path / "caller", "git")
    settings = (caller / ".git/config").read_text()
    done = hub.run(tmp_path / "tree", "--upstream", "git", GIT_DIR=str(caller / ".git"))
    assert done.returncode == 0, done.stderr
    assert (caller / ".git/config").read_text() == settings
    assert not (caller / ".git/info/sparse-checkout").exists()


def test_undo_takes_all_links_out_of_a_tree_that_is_a_link(hub, tmp_path, git):
    tree = checkout(hub, tmp_path / "mine", hub.commit)
    (tmp_path / "link").symlink_to(tree)
    assert hub.overlay.run(*STEPS, "--slowfast", tmp_path / "link").returncode == 0
    assert hub.overlay.undo(tmp_path / "link").returncode == 0
    assert git(tree, "status", "--porcelain") == ""


@pytest.mark.parametrize("torch", ["torch", "torch>=2.11", "/home/x.y/torch.whl", "a[$(touch x)]"])
def test_a_dry_run_takes_any_torch(torch, hub, tmp_path):
    options = ("--dry-run", "--upstream", "git", "--into", tmp_path / "tree", "--torch", torch)
    done = hub.overlay.run(*options, GIT_CONFIG_GLOBAL=str(hub.config))
    assert done.returncode == 0, done.stderr
    assert "the torchvision that belongs to" in done.stdout
    assert not list(tmp_path.rglob("x"))

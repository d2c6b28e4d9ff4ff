"""What the pages name exists: files, links, commands, options, keys, contents of a checkpoint."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[1]
PAGES = [
    *(REPO / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md")),
    REPO / "annotations/README.md",
    *sorted((REPO / "docs").glob("*.md")),
]
# Where a path in a page may start: the project, and the tree whose root code_new becomes.
ROOTS = (REPO, REPO / "code_new")
TO_BE_WRITTEN = {"losses/poly.py", "configs/AK/CHARADES.yaml", "configs/AK/MY_RUN.yaml"}
OF_SLOWFAST = {
    "slowfast/config/defaults.py",
    "slowfast/datasets/DATASET.md",
    "configs/Kinetics/SLOWFAST_8x8_R50.yaml",
}
OF_OTHERS = {"--shm-size=8g", "--ipc=host"}

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def exists(name: str) -> bool:
    return any(next(root.glob(name.rstrip("/")), None) is not None for root in ROOTS)


def named_paths(text: str) -> Iterator[str]:
    """What stands in backticks and is a path of the project: it starts with one of its folders, or
    is a file of its root."""
    folders = {entry.name for root in ROOTS for entry in root.iterdir() if entry.is_dir()}
    for name in re.findall(r"`([\w.*/-]+)`", text):
        in_root = re.fullmatch(r"[\w-]+\.(?:sh|toml|lock)", name)
        if in_root or ("/" in name and name.split("/")[0] in folders - {"SlowFast", ".venv"}):
            yield name


def anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-")


@each_page
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    named = set(named_paths(page.read_text())) - TO_BE_WRITTEN - OF_SLOWFAST
    assert [name for name in sorted(named) if not exists(name)] == []


@each_page
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", page.read_text()):
        name, _, heading = target.partition("#")
        linked = page.parent / name if name else page
        assert linked.exists(), target
        headings = re.findall(r"^#+ (.+)$", linked.read_text(), re.MULTILINE) if heading else []
        assert not heading or heading in map(anchor, headings), target


@each_page
def test_every_command_names_a_script_and_a_config_that_exist(page: Path) -> None:
    text = page.read_text()
    files = re.findall(r"--cfg ([\w./-]+)", text)
    files += re.findall(r"(?:python|bash) ([\w./-]+\.(?:py|sh))", text)
    known = TO_BE_WRITTEN | OF_SLOWFAST
    assert [name for name in files if name not in known and not exists(name)] == []


@each_page
def test_every_block_of_commands_is_valid_bash(page: Path) -> None:
    for block in re.findall(r"```bash\n(.*?)```", page.read_text(), re.DOTALL):
        done = subprocess.run(["bash", "-n"], input=block, capture_output=True, text=True)
        assert done.returncode == 0, block + done.stderr


@each_page
def test_every_option_that_a_page_names_is_one_of_ours(page: Path) -> None:
    scripts = [REPO / "prepare_dir_AR.sh", *(REPO / "code_new/tools").glob("*.py")]
    known = "\n".join(script.read_text() for script in scripts)
    named = set(re.findall(r"`(--[a-z][\w=-]*)[ `]", page.read_text())) - OF_OTHERS
    assert [o for o in sorted(named) if not re.search(rf"{o}(?![\w-])", known)] == []


@each_page
def test_no_page_names_a_place_on_one_machine(page: Path) -> None:
    assert re.findall(r"/(?:work|tmp|root|home|mnt|Users)/\S*", page.read_text()) == []


@each_page
def test_every_key_that_a_page_names_is_a_key(page: Path, tree: Path) -> None:
    from slowfast.ak.base import default_config
    from slowfast.ak.settings import leaves

    known = set(leaves(default_config()))
    named = re.findall(r"\b[A-Z][A-Z0-9_]*(?:\.[A-Z][A-Za-z0-9_]*)+", page.read_text())
    # The parameters of a loss are no keys of the configuration's own.
    assert sorted(n for n in set(named) - known if not n.startswith("LOSS.PARAMS")) == []


def test_the_page_of_the_pipeline_lists_what_a_checkpoint_holds() -> None:
    from actionrec.engine.checkpoint import CheckpointState

    text = (REPO / "docs/pipeline.md").read_text()
    section = text.partition("## What a checkpoint holds")[2].partition("\n## ")[0]
    assert re.findall(r"^\| `(\w+)`", section, re.MULTILINE) == list(
        CheckpointState.__annotations__
    )


def test_the_page_of_the_pipeline_lists_every_type() -> None:
    from actionrec import types

    text = (REPO / "docs/pipeline.md").read_text()
    own = [
        name
        for name, kind in inspect.getmembers(types, inspect.isclass)
        if kind.__module__ == types.__name__
        and (dataclasses.is_dataclass(kind) or issubclass(kind, tuple))
    ]
    assert [name for name in own if f"`{name}`" not in text] == []


def test_the_example_of_a_new_loss_works_as_it_stands(tmp_path: Path) -> None:
    """Its files, put where the page says, pass the tests that hold for every loss."""
    text = (REPO / "docs/losses.md").read_text().partition("## Add one")[2]
    new_file, lines = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    for name in ("losses", "tests"):
        shutil.copytree(REPO / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "losses/poly.py").write_text(new_file)
    import_line, _, head, *_, entry = lines.splitlines()
    table = tmp_path / "losses/__init__.py"
    content = table.read_text().replace("from losses.run", f"{import_line}\nfrom losses.run")
    assert head in content
    table.write_text(content.replace(head, f"{head}\n{entry}"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "tests/test_losses_contract.py", "-k", "poly1"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    code = (
        "import losses, torch\n"
        "print(losses.build('poly1', epsilon=2.0)(torch.zeros(1), torch.ones(1)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "tensor(1.6931)\n"  # log 2, and epsilon (1 - 1/2)


def test_annotations_are_made_in_one_place_outside_the_links_to_the_data() -> None:
    texts = [page.read_text() for page in (*PAGES, REPO / "code_new/tools/make_annotations.py")]
    made = re.findall(r"AR_metadata.xlsx[\s\"]+--out (\S+)", "\n".join(texts))
    assert len(made) == 3 and set(made) == {"data/ak_made"}


def test_versions_that_a_page_names_are_the_locked_ones() -> None:
    text = (REPO / "docs/troubleshooting.md").read_text()
    named = re.findall(r"\b(protobuf|tensorboard) (\d+\.\d+\.\d+)", text)
    lock = (REPO / "requirements.lock").read_text()
    assert len(named) == 2 and all(f"\n{name}=={version} " in lock for name, version in named)

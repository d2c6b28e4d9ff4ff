"""Three layers, one direction: losses and actionrec, then the glue slowfast.ak, then the tools."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

REPO = Path(__file__).resolve().parents[1]


def imported(path: Path) -> set[str]:
    """The dotted names that a file imports anywhere in it, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module or "")
    return names


def imports_below(folder: str) -> dict[Path, set[str]]:
    files = {path: imported(path) for path in (REPO / folder).rglob("*.py")}
    assert files, folder
    return files


def tops(names: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in names}


def test_losses_need_torch_alone():
    for path, names in imports_below("losses").items():
        assert tops(names) - sys.stdlib_module_names <= {"torch", "losses"}, path


def test_actionrec_never_imports_slowfast():
    for path, names in imports_below("code_new/actionrec").items():
        assert not tops(names) & {"slowfast", "tools"}, path


def test_data_flows_one_way():
    order = ["data", "models", "metrics", "engine", "report"]
    allowed = {
        "data": {"data"},
        "models": {"models"},
        "metrics": {"metrics"},
        "report": {"report", "metrics"},
        "engine": set(order),
    }
    # The splits carry the classes of head, middle and tail, so that nobody counts them twice.
    exceptions = {("data", "metrics", "splits.py")}
    for stage in order:
        for path, names in imports_below(f"code_new/actionrec/{stage}").items():
            used = {n.split(".")[1] for n in names if n.startswith("actionrec.")} & set(order)
            wrong = {u for u in used - allowed[stage] if (stage, u, path.name) not in exceptions}
            assert not wrong, f"{path} imports {wrong}"


def test_only_the_glue_knows_the_configuration_nodes():
    for path, names in imports_below("code_new/actionrec").items():
        assert not tops(names) & {"yacs", "iopath"}, path
        assert "fvcore.common.config" not in names, path


def test_no_file_is_longer_than_300_lines():
    files = [*(REPO / "losses").rglob("*.py"), *(REPO / "code_new").rglob("*.py")]
    lengths = {str(path): len(path.read_text().splitlines()) for path in files}
    assert {path: n for path, n in lengths.items() if n > 300} == {}


def test_one_file_alone_opens_urls():
    """Training and testing never need a network: what comes from one comes by its own command."""
    opening = {"urllib", "urllib.request", "http", "http.client", "ftplib", "requests", "httpx"}
    opening |= {"aiohttp", "urllib3", "torch.hub", "huggingface_hub", "gdown"}
    calls = ("torch.hub.", "load_state_dict_from_url", "download_url_to_file")
    files = imports_below("losses") | imports_below("code_new")
    found = {
        path.relative_to(REPO / "code_new").as_posix()
        for path, names in files.items()
        if names & opening or any(call in path.read_text() for call in calls)
    }
    assert found == {"actionrec/engine/download.py"}


def test_the_file_that_opens_urls_is_used_by_its_command_alone():
    users = {
        path.name
        for path, names in (imports_below("losses") | imports_below("code_new")).items()
        if any(name.startswith("actionrec.engine.download") for name in names)
    }
    assert users == {"fetch_checkpoint.py"}

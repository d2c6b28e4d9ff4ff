"""Configurations meant to harm, and folders that cannot take a run."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("slowfast.config.defaults", reason="needs the prepared tree .trees/wheel")

from actionrec.engine.output import prepare_output  # noqa: E402
from actionrec.errors import SecurityError, UserError  # noqa: E402
from slowfast.ak import base  # noqa: E402
from slowfast.ak.config import merge  # noqa: E402

REPO = Path(__file__).resolve().parents[1]


def test_D4_a_bomb_of_aliases_is_refused_before_it_unfolds(tmp_path):
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]  # 10^9 items
    (tmp_path / "bomb.yaml").write_text("\n".join(lines))
    started = time.monotonic()
    with pytest.raises(SecurityError, match=r"line 2: YAML aliases"):
        merge(base.default_config(), tmp_path / "bomb.yaml", [])
    assert time.monotonic() - started < 1


def test_D4_a_circle_of_three_files_is_named(tmp_path):
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        (tmp_path / f"{name}.yaml").write_text(f"_BASE_: {other}.yaml\n")
    with pytest.raises(UserError, match="in a circle"):
        merge(base.default_config(), tmp_path / "a.yaml", [])


@pytest.mark.parametrize(
    "link", ["../secret.yaml", "/etc/hostname", "below/../../secret.yaml"], ids=lambda x: f"D4-{x}"
)
def test_a_base_outside_the_folder_is_refused(tmp_path, link):
    (tmp_path / "secret.yaml").write_text("TRAIN: {ENABLE: False}\n")
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "a.yaml").write_text(f"_BASE_: {link}\n")
    with pytest.raises(SecurityError, match="leaves the folder"):
        merge(base.default_config(), tmp_path / "configs" / "a.yaml", [])


def test_D6_missing_folders_are_made_and_relative_ones_are_below_the_current_one(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    for folder in (Path("results/a"), tmp_path / "deep" / "er"):
        prepare_output(folder)
        assert folder.is_dir() and list(folder.iterdir()) == []
    assert (tmp_path / "results" / "a").is_dir()


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        pytest.param(
            'mount -t tmpfs -o size=4k none "$1" && { head -c 9000 /dev/zero >"$1/x"; true; }',
            "cannot be written: No space left on device",
            id="D6-full",
        ),
        pytest.param(
            'mount -t tmpfs -o ro none "$1"',
            "cannot be written: Read-only file system",
            id="D6-read-only",
        ),
    ],
)
def test_a_disk_that_takes_nothing_is_one_line(tmp_path, prepare, message):
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rm", "true"]).returncode:
        pytest.skip("unshare -rm is not allowed here")
    code = (
        "import sys; from pathlib import Path; from actionrec.engine.output import prepare_output\n"
        "from actionrec import front_door\n"
        "sys.exit(front_door.answer('run', lambda: prepare_output(Path(sys.argv[1]))))"
    )
    script = prepare + ' 2>/dev/null || exit 99; exec "$2" -c "$3" "$1"'
    done = subprocess.run(
        ["unshare", "-rm", "bash", "-c", script, "bash", tmp_path, sys.executable, code],
        env={"PYTHONPATH": f"{REPO}:{REPO / 'code_new'}"}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"run: error: OUTPUT_DIR: {tmp_path} {message}\n"

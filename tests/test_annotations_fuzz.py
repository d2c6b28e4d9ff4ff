"""The annotation reader against inputs that a fuzzer finds by what they make it do."""

from __future__ import annotations

import importlib.util
import subprocess
import sys

import pytest

NUM_INPUTS = [50_000, pytest.param(1_000_000, marks=pytest.mark.slow)]


@pytest.mark.skipif(
    importlib.util.find_spec("atheris") is None,
    reason="atheris has no wheel for this machine; seeded mutations are tested all the same",
)
@pytest.mark.parametrize("num_inputs", NUM_INPUTS)
def test_no_bytes_give_anything_but_one_line_or_the_table_of_the_exact_reader(
    tmp_path, repo, num_inputs
):
    done = subprocess.run(
        [sys.executable, "tests/fuzz_with_atheris.py", tmp_path / "found", f"-runs={num_inputs}"],
        cwd=repo,
        capture_output=True,
        text=True,
        errors="replace",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert f"Done {num_inputs} runs" in done.stderr

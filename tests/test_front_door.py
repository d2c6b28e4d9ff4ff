"""What a command answers to what stops it."""

from __future__ import annotations

import pytest

from actionrec.errors import SecurityError, UserError
from actionrec.front_door import answer


def stopped_by(error: BaseException):
    def work() -> int:
        raise error

    return work


@pytest.mark.parametrize(
    ("error", "status", "lines"),
    [
        (UserError("one\ntwo"), 2, ["tool: error: one", "tool: error: two"]),
        (SecurityError("harmful"), 4, ["tool: error: harmful"]),
        (KeyboardInterrupt(), 130, ["tool: interrupted; go on"]),
        (
            ModuleNotFoundError("x", name="numpy"),
            2,
            [
                "tool: error: this Python has no numpy; use the one that prepare_dir_AR.sh set up: "
                "source .venv/bin/activate"
            ],
        ),
    ],
)
def test_what_a_user_can_mend_is_said_without_a_traceback(error, status, lines, capsys):
    assert answer("tool", stopped_by(error), "go on") == status
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines() == lines


@pytest.mark.parametrize("error", [ValueError("bug"), ModuleNotFoundError("x", name="actionrec.a")])
def test_a_bug_is_not_hidden(error):
    with pytest.raises(type(error)):
        answer("tool", stopped_by(error))


def test_work_that_ends_gives_its_own_status(capsys):
    assert answer("tool", lambda: 3) == 3
    assert capsys.readouterr() == ("", "")

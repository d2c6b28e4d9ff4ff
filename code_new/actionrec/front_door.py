"""What every command does with what stops it: one line on stderr, an exit status, no traceback."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from actionrec import launched
from actionrec.errors import PeerLost, Stopped, UserError
from actionrec.terminal import RED, coloured

_OWN = ("actionrec", "losses", "slowfast")
_OTHERS_SPEAK_SEC = 5.0


def require_tree(tree: Path, tool: str) -> None:
    """Raise UserError where `tree`, above the `tool` that was called, holds no SlowFast."""
    if not (tree / "slowfast" / "models" / "video_model_builder.py").is_file():
        raise UserError(
            f"{tree} is no prepared SlowFast tree; run prepare_dir_AR.sh, then "
            f"`cd SlowFast && python tools/{tool} ...`"
        )


def answer(program: str, work: Callable[[], int], interrupted: str = "") -> int:
    """The exit status of `work()`, or of the error that a user can mend and that ended it.

    interrupted: what to say of Ctrl-C besides that. Imports belong into `work`: one that fails for
    want of a package means that this is not the Python that was set up.
    """
    status = _answer(program, work, interrupted)
    launched.note_exit(status)
    return status


def _answer(program: str, work: Callable[[], int], interrupted: str) -> int:
    try:
        return work()
    except ModuleNotFoundError as missing:
        if missing.name is None or missing.name.partition(".")[0] in _OWN:
            raise
        _say(
            program,
            f"error: this Python has no {missing.name}; use the one that prepare_dir_AR.sh set up: "
            "source .venv/bin/activate",
        )
        return 2
    except Stopped as stopped:
        if launched.is_main():
            _say(program, str(stopped))
        return stopped.exit_code
    except UserError as error:
        if isinstance(error, PeerLost) and error.was_told_to_end:
            return error.exit_code  # by the launcher, which saw why another one ended
        _let_others_speak(error)
        for line in str(error).splitlines():
            _say(program, f"error: {line}")
        return error.exit_code
    except KeyboardInterrupt:
        if launched.is_launched():  # Ctrl-C reaches it from the terminal, and by its launcher too
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        if launched.is_main():
            _say(program, "; ".join(filter(None, ("interrupted", interrupted))))
        return 130


def _let_others_speak(error: UserError) -> None:
    """Of a run's processes the first to fail, and of equals the main one, gives the message.

    The others wait: the launcher, which sees that one has ended, ends them meanwhile.
    """
    if launched.world_size() > 1 and (isinstance(error, PeerLost) or not launched.is_main()):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        time.sleep(_OTHERS_SPEAK_SEC * (2 if isinstance(error, PeerLost) else 1))


def _say(program: str, text: str) -> None:
    print(coloured(f"{program}: {text}", RED, sys.stderr), file=sys.stderr)

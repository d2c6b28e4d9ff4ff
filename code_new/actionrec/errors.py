"""The errors that a user can cause: the front doors print them as one line and exit."""

from __future__ import annotations

from collections.abc import Sequence


class UserError(ValueError):
    """One line: what is wrong (with the value), where (file, line, id, key), how to fix it."""

    exit_code = 2


class SecurityError(UserError):
    """An input was refused because opening it could do harm; nothing of it was executed."""

    exit_code = 4


class Incomplete(UserError):
    """The work was done, but not over all of the input; the message says over how much."""

    exit_code = 3


class PeerLost(UserError):
    """Another process of the run has ended, and says itself why."""

    exit_code = 1
    was_told_to_end = False  # by a signal that came before this was noticed


class Stopped(UserError):
    """A signal asked the run to end, and it has: no error, what was done is saved."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def first_few(values: Sequence[object], shown: int = 10) -> str:
    """`1 2 3 and 4 more`: a message stays one line, however many there are."""
    more = f" and {len(values) - shown} more" if len(values) > shown else ""
    return " ".join(map(str, values[:shown])) + more


def nearest(name: str, known: list[str]) -> list[str]:
    """`known` with the names most like `name` first, the rest in alphabetical order."""
    from difflib import get_close_matches

    folded = {k.lower(): k for k in known}
    close = [folded[m] for m in get_close_matches(name.lower(), list(folded), n=3, cutoff=0.5)]
    return close + sorted(k for k in known if k not in close)

"""Colour for messages on a terminal, and on a terminal only."""

from __future__ import annotations

import os
from typing import TextIO

RED, YELLOW = "31", "33"


def coloured(text: str, colour: str, stream: TextIO) -> str:
    """`text` as it goes to `stream`: in `colour` where that is a terminal that shows colours.

    Not where NO_COLOR says so (https://no-color.org), or TERM is dumb.
    """
    wanted = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[{colour}m{text}\x1b[0m" if wanted and stream.isatty() else text

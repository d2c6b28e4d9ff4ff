"""Which stretches of a video become clips, and which behaviours each shows.

A clip carries a behaviour that fills at least `min_overlap` of the clip, or of which one bout lies
in the clip with at least `min_overlap` of its own length: a short act counts as one, and a long one
too. A moment (start equal to stop) counts where it lies.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

MIN_REST_SEC = 0.1  # a rest of the video that is shorter gets no clip of its own
_ROUNDING_SEC = 1e-6

Bout = tuple[float, float, str]  # start, stop, behaviour


def window_starts(duration_sec: float, window_sec: float, stride_sec: float) -> list[float]:
    """Where the windows begin: one every stride, and a last one that ends with the video.

    A video that is no longer than a window is one window.
    """
    if duration_sec <= window_sec:
        return [0.0]
    count = int((duration_sec - window_sec + _ROUNDING_SEC) / stride_sec) + 1
    starts = [round(k * stride_sec, 6) for k in range(count)]
    if duration_sec - (starts[-1] + window_sec) > MIN_REST_SEC:
        starts.append(round(duration_sec - window_sec, 6))
    return starts


def behaviours_in(
    start_sec: float, stop_sec: float, bouts: Iterable[Bout], min_overlap: float
) -> tuple[set[str], bool]:
    """The behaviours that the window carries, and whether any behaviour touches it at all."""
    inside: dict[str, list[tuple[float, float]]] = defaultdict(list)
    carried: set[str] = set()
    for start, stop, behaviour in bouts:
        if start == stop:
            if start_sec <= start < stop_sec:
                inside[behaviour].append((start, start))
                carried.add(behaviour)
            continue
        begin, end = max(start, start_sec), min(stop, stop_sec)
        if end > begin:
            inside[behaviour].append((begin, end))
            if end - begin >= min_overlap * (stop - start) - _ROUNDING_SEC:
                carried.add(behaviour)
    enough = min_overlap * (stop_sec - start_sec) - _ROUNDING_SEC
    carried |= {b for b, parts in inside.items() if _union(parts) >= enough}
    return carried, bool(inside)


def _union(parts: Sequence[tuple[float, float]]) -> float:
    """Seconds that are covered at least once."""
    covered, until = 0.0, float("-inf")
    for start, stop in sorted(parts):
        covered += max(0.0, stop - max(start, until))
        until = max(until, stop)
    return covered

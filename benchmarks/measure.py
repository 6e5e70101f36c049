"""Measurements as rows, ratios, and alternating timings."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Row(NamedTuple):
    """One measurement; `aim` is its limit with its direction, such as "<= 1.1", or empty."""

    measure: str
    value: float
    unit: str
    aim: str = ""
    met: bool | None = None
    detail: str = ""


def ratio(measure: str, values: Sequence[float], aim: float, least: bool, detail: str) -> Row:
    """Median of ratios, compared with its lower (`least`) or upper limit.

    >>> row = ratio("a over b", [0.7, 0.9, 0.8], 0.75, least=True, detail="")
    >>> row.value, row.aim, row.met, row.detail
    (0.8, '>= 0.75', True, '3 pairs, 0.70 to 0.90')
    """
    value = statistics.median(values)
    spread = f"{len(values)} pairs, {min(values):.2f} to {max(values):.2f}"
    met = value >= aim if least else value <= aim
    limit = f"{'>=' if least else '<='} {aim:g}"
    return Row(measure, value, "ratio", limit, met, "; ".join(filter(None, (spread, detail))))


def interleaved(
    sides: Sequence[Callable[[], object]],
    pairs: int,
    clock: Callable[[], float] = time.process_time,
) -> list[list[float]]:
    """Core-seconds of several functions that run alternately; one list of values per function.

    The first round is a warm-up and is not counted. Core-seconds are those of all threads of this
    process, so other jobs on the machine have little influence.
    """
    seconds: list[list[float]] = [[] for _ in sides]
    for turn in range(-1, pairs):
        for side, times in zip(sides, seconds, strict=True):
            start = clock()
            side()
            if turn >= 0:
                times.append(clock() - start)
    return seconds


def over(a: Sequence[float], b: Sequence[float]) -> list[float]:
    """Ratios of the pairs."""
    return [x / y for x, y in zip(a, b, strict=True)]

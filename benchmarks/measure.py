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
    detail: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the value keeps the limit; None without one."""
        direction, _, limit = self.aim.partition(" ")
        if not limit:
            return None
        return self.value >= float(limit) if direction == ">=" else self.value <= float(limit)


def ratio(measure: str, values: Sequence[float], aim: str, detail: str) -> Row:
    """Median of ratios, compared with its limit.

    >>> row = ratio("a over b", [0.7, 0.9, 0.8], ">= 0.75", detail="batch 4")
    >>> row.value, row.met, row.detail
    (0.8, True, '3 pairs, 0.70 to 0.90; batch 4')
    """
    spread = f"{len(values)} pairs, {min(values):.2f} to {max(values):.2f}"
    return Row(measure, statistics.median(values), "ratio", aim, f"{spread}; {detail}")


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

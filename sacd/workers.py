"""Maps a function over items in spawned worker processes, in the order of the items."""

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from itertools import islice
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_AHEAD = 4
"""Chunks per worker that are submitted before their results are consumed."""


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, chunk: int = 1
) -> Iterator[Result]:
    """Yield `function(item)` for each item, in order, whatever the number of workers.

    At most `_AHEAD` chunks per worker wait in memory, so that large results do not pile up. The
    first exception is raised here, and items that have not started are cancelled.

    Args:
        function: picklable, as are the items and results: it runs in another process.
        items: consumed lazily.
        workers: number of processes; with 1 or less everything runs in this process.
        chunk: items sent to a worker at a time; raise it where one item takes milliseconds.

    >>> list(parallel_map(abs, [-1, 2], workers=1))
    [1, 2]
    """
    if workers <= 1:
        yield from map(function, items)
        return
    # Spawned, not forked: a fork of a process that has loaded torch or FFmpeg may hang.
    context = multiprocessing.get_context("spawn")
    waiting: deque[Future[list[Result]]] = deque()
    rest = iter(items)
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        try:
            while part := list(islice(rest, chunk)):
                waiting.append(pool.submit(_apply, function, part))
                if len(waiting) == _AHEAD * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _apply(function: Callable[[Any], Any], part: list[Any]) -> list[Any]:
    return [function(item) for item in part]

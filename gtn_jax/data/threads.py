"""`map` in threads: enough for images, as Pillow lets go of the interpreter while it works."""

import collections
import concurrent.futures
import os
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def available_cores() -> int:
    """Cores that this process may use: its affinity can be less than the machine has."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def ordered_map(
    function: Callable[[Item], Result], items: Iterable[Item], in_flight: int = 8
) -> Iterator[Result]:
    """`map` by as many threads as there are cores, however long `items` is.

    Args:
        function: what raises there is raised here, in its turn.
        items: taken in the caller's thread.
        in_flight: items per thread that are submitted before their results are taken.
    """
    workers = available_cores()
    waiting: collections.deque[concurrent.futures.Future[Result]] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(function, item))
                if len(waiting) >= in_flight * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

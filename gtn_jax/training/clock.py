"""Time spent in each part of a run."""

import contextlib
import time
from collections.abc import Iterator, Mapping

PARTS = ("start", "head", "cache", "compile", "train", "evaluate", "checkpoint")


class Clock:
    """Stopwatches of which one runs at a time: a nested part pauses the outer one.

    Example:
        >>> clock = Clock()
        >>> with clock.timed("start"):
        ...     with clock.timed("compile"):  # not counted as "start"
        ...         pass
        >>> sorted(clock.seconds) == sorted(PARTS)
        True
    """

    def __init__(self, seconds: Mapping[str, float] | None = None):
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0) | dict(seconds or {})
        self._running: list[str] = []
        self._since = time.monotonic()

    @property
    def total(self) -> float:
        """Seconds of all parts, without the current block."""
        return sum(self.seconds.values())

    @contextlib.contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add the duration of the block to a part."""
        self._book()
        self._running.append(part)
        try:
            yield
        finally:
            self._book()
            self._running.pop()

    def _book(self) -> None:
        now = time.monotonic()
        if self._running:
            self.seconds[self._running[-1]] += now - self._since
        self._since = now

"""Seconds of a run by what they went into."""

import contextlib
import time
from collections.abc import Iterator, Mapping

PARTS = ("start", "head", "cache", "compile", "train", "evaluate", "checkpoint")


class Clock:
    """Stopwatches of which one runs at a time: a part within another one interrupts it.

    Example:
        >>> clock = Clock()
        >>> with clock.timed("start"):
        ...     with clock.timed("compile"):  # no part of the start
        ...         pass
        >>> sorted(clock.seconds) == sorted(PARTS)
        True
    """

    def __init__(self, seconds: Mapping[str, float] | None = None):
        """Go on from seconds so far.

        Args:
            seconds: part -> seconds; None: nothing yet.
        """
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0) | dict(seconds or {})
        self._running: list[str] = []
        self._since = time.monotonic()

    @property
    def total(self) -> float:
        """Of all parts, but for what runs now."""
        return sum(self.seconds.values())

    @contextlib.contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Add what the block takes to a part."""
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

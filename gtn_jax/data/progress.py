"""Output of data preparation: a progress bar, on a terminal only, and no library logs."""

import contextlib
import logging
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


class PrepareBar:
    """Counts images; shows images/s and the remaining time."""

    def __init__(self, title: str, total: int | None):
        """`total` images, if known."""
        self._total, self._done, self._started = total, 0, time.monotonic()
        self._bar = None
        if sys.stdout.isatty():
            counted = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
            console = Console(highlight=False)
            self._bar = Progress(TextColumn(title), *counted, console=console, transient=True)
            self._task = self._bar.add_task("", total=total)

    def advance(self) -> None:
        """Count one image."""
        self._done += 1
        if self._bar is not None:
            rate = self._done / max(time.monotonic() - self._started, 1e-9)
            text = f"{rate:.0f} images/s"
            if self._total is not None:
                text += f"  {(self._total - self._done) / rate:.0f} s left"
            self._bar.update(self._task, completed=self._done, description=text)

    def __enter__(self) -> "PrepareBar":
        """Start the bar."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Stop the bar, which hides the cursor while it runs."""
        if self._bar is not None:
            self._bar.stop()


@contextlib.contextmanager
def only_errors(logger_name: str) -> Iterator[None]:
    """Silence a library's warnings inside the context."""
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)

"""What a person sees of data being prepared: a bar on a terminal, nothing elsewhere.

Training has a bar of its own (training/progress.py).
"""

import sys
import time

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn


class PrepareBar:
    """Counts images; shows images/s and the time that is left."""

    def __init__(self, title: str, total: int | None):
        """`total` images, if their number is known before."""
        self._total, self._done, self._started = total, 0, time.monotonic()
        self._bar = None
        if sys.stdout.isatty():
            columns = (
                TextColumn(title),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.description}"),
            )
            self._bar = Progress(*columns, console=Console(highlight=False), transient=True)
            self._task = self._bar.add_task("", total=total)

    def advance(self) -> None:
        """One image more."""
        self._done += 1
        if self._bar is not None:
            rate = self._done / max(time.monotonic() - self._started, 1e-9)
            text = f"{rate:.0f} images/s"
            if self._total is not None:
                text += f"  {(self._total - self._done) / rate:.0f} s left"
            self._bar.update(self._task, completed=self._done, description=text)

    def __enter__(self) -> "PrepareBar":
        """Show it."""
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        """Take the bar down, whatever happened: it has hidden the cursor."""
        if self._bar is not None:
            self._bar.stop()

"""Progress of a run: a bar on a terminal, plain lines elsewhere.

Only training steps count, without compilation, so rate and remaining time are right from the start.
Steps on cached features are counted separately: they do not predict the speed of images.
"""

import contextlib
import math
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from gtn_jax.config import Config

_PLAIN_LINE_SECONDS = 10.0


class ProgressBar(contextlib.AbstractContextManager):
    """Shows step, epoch, loss, accuracy, images/s (or features/s) and remaining time.

    Starts when it is created, so that earlier lines stay above it, and stops on exit: it hides the
    cursor.

    Attributes:
        seconds_beside: step -> seconds of the remaining evaluations.
    """

    def __init__(self, total_steps: int, steps_per_epoch: int, done_steps: int, quiet: bool):
        """Start at `done_steps` of `total_steps`; `quiet` prints no lines."""
        self._total, self._per_epoch = total_steps, steps_per_epoch
        self._quiet = quiet
        self._seconds, self._steps, self._rows, self._unit = 0.0, 0, 0, "images"
        self._last_line = time.monotonic()
        self._bar = None
        self._console = Console(highlight=False, soft_wrap=True)
        if sys.stdout.isatty():
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                TextColumn("{task.completed}/{task.total}"),
            )
            self._bar = Progress(*columns, console=self._console, transient=quiet)
            self._task = self._bar.add_task("", total=total_steps, completed=done_steps)
            self._bar.start()

    seconds_beside: Callable[[int], float] = staticmethod(lambda step: 0.0)

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        if not self._quiet:
            self._console.print(line, markup=False)

    def count(self, seconds: float, rows: int, unit: str = "images") -> None:
        """Count a compiled step of `rows` "images" or "features"; a new unit starts over."""
        if unit != self._unit:
            self._seconds, self._steps, self._rows, self._unit = 0.0, 0, 0, unit
        self._seconds += seconds
        self._steps += 1
        self._rows += rows

    @property
    def rate(self) -> float:
        """Images, or features, per second; 0 before the first counted step."""
        return self._rows / self._seconds if self._seconds else 0.0

    def show(self, step: int, loss: float, accuracy: float) -> None:
        """Update the bar, or print a line if the last one is some seconds old.

        Args:
            loss: of the classifier alone, in nats, comparable to a validation loss.
            accuracy: in 0..1.
        """
        left = (self._total - step) * self._seconds / max(self._steps, 1)
        left += self.seconds_beside(step)
        epoch = step / self._per_epoch
        text = (
            f"epoch {epoch:.1f}  loss {loss:.3f}  accuracy {accuracy:.3f}  "
            f"{self.rate:.0f} {self._unit}/s"
        )
        if self._unit == "images":
            text += f"  {left:.0f} s left"
        if self._bar is not None:
            self._bar.update(self._task, completed=step, description=text)
        elif time.monotonic() - self._last_line >= _PLAIN_LINE_SECONDS:
            self._last_line = time.monotonic()
            self.say(f"  step {step}/{self._total}  {text}")

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()


FEW_STEPS = 100


def few_steps(config: Config, total_steps: int) -> str | None:
    """Advice for a run (of a resolved config) too short for randomly initialized classifiers, or
    None."""
    if config.training.head_start == "solved" or total_steps >= FEW_STEPS:
        return None
    fix = "training.head_start solved starts from a solved classifier, "
    if config.model.weights is None:
        fix = ""
    return (
        f"{total_steps} steps are few for classifiers that start at random; {fix}"
        f"training.steps {2 * FEW_STEPS} takes longer"
    )


def near_chance(accuracy: float, images: int, classes: int, config: Config) -> str | None:
    """Advice if the accuracy is at most two standard deviations above chance, or None."""
    chance = 1 / classes
    most = chance + 2 * math.sqrt(chance * (1 - chance) / images)
    if accuracy > most or most >= 1:
        return None
    if config.training.head_start == "random" and config.model.weights is not None:
        fix = "training.head_start solved starts from what the weights know"
    else:
        fix = "find_lr looks for a rate, `gtn check-data` at the images"
    return f"answers are near chance, {100 * chance:.1f} %; {fix}"

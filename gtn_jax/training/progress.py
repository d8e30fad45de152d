"""What a person sees of a running job: a bar on a terminal, plain lines elsewhere.

The clock counts training steps only: time to compile is passed over, so the rate and the
remaining time are right from the start. Steps on cached features are counted by themselves: they
say nothing of how fast images go, nor of how long those take that are left.
"""

import math
import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from gtn_jax.config import Config

_PLAIN_LINE_SECONDS = 10.0


class ProgressBar:
    """Shows step, epoch, loss, accuracy, images/s (or features/s) and the time that is left."""

    def __init__(self, total_steps: int, steps_per_epoch: int, done_steps: int, quiet: bool):
        """Start at `done_steps` of `total_steps`; `quiet` leaves no line behind."""
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
    """Step -> what evaluations take that are still to come."""

    def say(self, line: str) -> None:
        """A line that stays."""
        if not self._quiet:
            self._console.print(line, markup=False)

    def count(self, seconds: float, rows: int, unit: str = "images") -> None:
        """Add a step that did not compile; of another unit than before it is the first.

        Args:
            seconds: that it took.
            rows: images or features in it.
            unit: "images" or "features".
        """
        if unit != self._unit:
            self._seconds, self._steps, self._rows, self._unit = 0.0, 0, 0, unit
        self._seconds += seconds
        self._steps += 1
        self._rows += rows

    @property
    def rate(self) -> float:
        """Images, or features, a second so far; 0 before the first counted step."""
        return self._rows / self._seconds if self._seconds else 0.0

    def show(self, step: int, loss: float, accuracy: float) -> None:
        """Update the bar, or print a line if the last one is some seconds old.

        Args:
            step: that is done.
            loss: of the classifier alone, in nats, as a validation loss is.
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

    def __enter__(self) -> "ProgressBar":
        """It shows from the moment it is built, so that lines before the first step stay above."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Take the bar down, whatever happened: it has hidden the cursor."""
        if self._bar is not None:
            self._bar.stop()


FEW_STEPS = 100


def few_steps(config: Config, total_steps: int) -> str | None:
    """A line about a run that is too short for classifiers that start at random; None: it is not.

    Args:
        config: resolved.
        total_steps: of the run.
    """
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
    """A line about answers that are no better than guesses; None: they are, or so few cannot tell.

    Args:
        accuracy: 0..1, of
        images: that many images.
        classes: N; a guess is right once in N times, and by luck two deviations more often.
        config: resolved.
    """
    chance = 1 / classes
    most = chance + 2 * math.sqrt(chance * (1 - chance) / images)
    if accuracy > most or most >= 1:
        return None
    if config.training.head_start == "random" and config.model.weights is not None:
        fix = "training.head_start solved starts from what the weights know"
    else:
        fix = "find_lr looks for a rate, `gtn check-data` at the images"
    return f"answers are near chance, {100 * chance:.1f} %; {fix}"

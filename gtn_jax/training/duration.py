"""Run time estimates: the time of a step and of an evaluation batch, times their number.

The run's own programs are timed for a few calls each; what they compile to is reused by the run.
"""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from gtn_jax.arrays import Batch
from gtn_jax.config import Config
from gtn_jax.data.images import Images
from gtn_jax.devices import put_batch
from gtn_jax.runtime.distributed import broadcast_from_primary
from gtn_jax.training.resolution import evaluations_after, total_steps
from gtn_jax.training.setup import RunSetup
from gtn_jax.training.state import TrainState, copied

TIMED_FROM = 25
"""Shorter runs are not worth an estimate."""
PLANNED = 0.93
"""Fraction of the time left to plan for; the rest is for checkpoints and variance."""
_TIMED_SECONDS, _MOST_AT_ONCE = 0.5, 8

Phase = tuple[bool, bool]
"""(frozen backbone?, small images?); each has its own program."""


class Timing(NamedTuple):
    """Seconds of compilation (the excess of the first call), and per call."""

    compile_seconds: float
    seconds: float


class Pace(NamedTuple):
    """Measured speed: a `Timing` of a step in each phase, and of an evaluation batch."""

    steps: dict[Phase, Timing]
    evaluation: Timing

    @property
    def compile_seconds(self) -> float:
        """Of all training programs."""
        return sum(timing.compile_seconds for timing in self.steps.values())


class Work(NamedTuple):
    """Remaining work of a run.

    Attributes:
        steps: per phase, without steps on cached features, which take next to no time.
        evaluations: number of evaluations before the final one.
        batches: evaluation batches in total.
    """

    steps: dict[Phase, int]
    evaluations: int
    batches: int

    def seconds(self, pace: Pace) -> float:
        """Estimated duration."""
        # A phase is untimed if a damaged checkpoint sends the run back to it.
        steps = sum(
            pace.steps[phase].seconds * count
            for phase, count in self.steps.items()
            if phase in pace.steps
        )
        return steps + pace.evaluation.seconds * self.batches


def work_after(
    config: Config, per_epoch: int, sizes: Mapping[str, int], watched: str, step: int | None
) -> Work:
    """The work of a run that remains after `step`; None: the run has not started.

    Args:
        config: resolved.
        per_epoch: steps per epoch.
        sizes: split -> number of images.
        watched: the split that selects.
        step: steps done.
    """
    training, total = config.training, total_steps(config, per_epoch)
    frozen, small = (
        epochs * per_epoch for epochs in (training.freeze_epochs, config.data.small_image_epochs)
    )
    steps: dict[Phase, int] = {}
    bounds = sorted({step or 0, total, *(at for at in (frozen, small) if (step or 0) < at < total)})
    for start, end in itertools.pairwise(bounds):
        if not (config.data.feature_cache_views and start < frozen):
            phase = start < frozen, start < small
            steps[phase] = steps.get(phase, 0) + end - start
    evaluations = evaluations_after(step or 0, total, per_epoch, config)
    evaluations += step is None and training.head_start == "solved"

    def batches(splits: set[str]) -> int:
        batch = config.data.eval_batch_size
        return sum(-(-sizes[split] // batch) for split in splits if split in sizes)

    judged = {watched, "test"} if training.watch_test else {watched}
    at_the_end = batches({"validation", "test"})
    return Work(steps, evaluations, evaluations * batches(judged) + at_the_end)


def fitting_steps(most: int, left: float, seconds: Callable[[int], float]) -> int:
    """The largest number of steps, at most `most`, whose duration `seconds(steps)` is at most
    `left`."""
    steps = most
    while steps and (needed := seconds(steps)) > left:
        # Fixed costs make this estimate too high, never too low.
        steps = min(steps - 1, max(0, int(steps * left / needed)))
    return steps


class Plan(NamedTuple):
    """Number of training steps, and seconds from now on."""

    steps: int
    seconds: float


def plan(
    deadline: float, most: int, pace: Pace, work_of: Callable[[int], Work], is_solved: bool
) -> Plan:
    """The longest run that ends before the deadline, as the primary process computes it.

    Args:
        deadline: by `time.monotonic`.
        most: steps asked for; the measured programs are compiled for this length only.
        pace: of this machine.
        work_of: number of steps -> work of a run.
        is_solved: whether the head is solved, so that 0 steps are a result, too.

    Raises:
        ValueError: not one step fits, and the head is not solved.
    """

    def seconds(steps: int) -> float:
        compiling = 0.0 if steps in (0, most) else pace.compile_seconds
        return compiling + work_of(steps).seconds(pace)

    left = deadline - time.monotonic()
    steps = broadcast_from_primary(fitting_steps(most, PLANNED * left, seconds))
    if steps == 0 < most and not is_solved:
        raise ValueError(
            f"not one step fits: {format_seconds(max(0.0, left))} are left, and "
            f"one takes {format_seconds(seconds(1))} with the evaluation after it; "
            "give it more, `budget_minutes=MORE`"
        )
    return Plan(steps, seconds(steps))


def time_calls(call: Callable[[], Any], is_compiled: bool = False) -> Timing:
    """Time some calls of a jitted function, for about a second; a collective."""

    def timed(times: int) -> float:
        started, result = time.perf_counter(), None
        for _ in range(times):
            result = call()
        jax.block_until_ready(result)
        return (time.perf_counter() - started) / times

    first = 0.0 if is_compiled else timed(1)
    # `timed(1)` also warms up pages, caches and threads.
    at_once = broadcast_from_primary(
        max(1, min(_MOST_AT_ONCE, int(_TIMED_SECONDS / max(timed(1), 1e-9))))
    )
    seconds = statistics.median(timed(at_once) for _ in range(3))
    return Timing(max(0.0, first - seconds), seconds)


def measure(
    setup: RunSetup, state: TrainState, images: Mapping[str, Images], phases: list[Phase]
) -> Pace:
    """Time the programs of these phases, on the first images and a copy of the state."""
    programs, mesh, copy = setup.programs, setup.mesh, copied(state)
    batch = images["train"].take(np.arange(setup.epoch.batch_size))
    steps = {}
    for phase in phases:

        def step(phase: Phase = phase) -> Any:
            nonlocal copy
            copy, metrics = programs.take_step(copy, put_batch(batch, mesh), *phase)
            return metrics

        steps[phase] = time_calls(step)
    evaluated = images.get("validation", images.get("test"))
    if evaluated is None:
        return Pace(steps, Timing(0.0, 0.0))
    made_up = made_up_batch(evaluated, setup.evaluation_batch, 1)
    judge = programs.evaluation_step if evaluated.clips is None else programs.probabilities_step
    return Pace(steps, time_calls(lambda: judge(state.variables, put_batch(made_up, mesh))))


def made_up_batch(images: Images, batch_size: int, classes: int) -> Batch:
    """A batch of noise, shaped like a batch of these images."""
    shape = batch_size, images.height, images.width, 3
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    labels = np.arange(batch_size, dtype=np.int32) % classes
    sizes = None
    if images.view.whole:
        sizes = np.tile(np.array([images.height, images.width], np.int32), (batch_size, 1))
    return Batch(pixels, labels, np.ones(batch_size, np.float32), sizes)


def format_seconds(seconds: float) -> str:
    """A duration in words: "40 s", "2 min 30 s", "15 min", "1 h 40 min"."""
    if seconds < 90:
        return f"{max(1, math.ceil(seconds))} s"
    tens = round(seconds / 10)
    if tens < 60:
        return f"{tens // 6} min" + (f" {tens % 6}0 s" if tens % 6 else "")
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def announcement(work: Work, most: int, steps: int, done: int, seconds: float) -> tuple[str, ...]:
    """The lines printed before a run: `steps` of `most` asked for, `done` earlier, seconds
    estimated."""
    lines = []
    if steps < most:
        lines.append(f"budget  {steps:,} of {most:,} steps fit")
    if steps == 0 < most:
        lines = ["budget  not one step fits: the head is solved, and that is all"]
    text = f"{steps - done:,} steps, {work.evaluations} evaluations"
    return (*lines, f"time    about {format_seconds(seconds)}: {text}")

"""How long a run takes: what one step and one batch of evaluation take here, times how many.

Timed are the run's own programs, a few calls each. What they compile to is kept, so the time goes
into nothing that the run would not have done.
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
"""A run of fewer steps is over before anybody has read how long it takes."""
PLANNED = 0.93
"""Share of the time left that a plan fills: steps are not all alike, and checkpoints take some."""
_TIMED_SECONDS, _MOST_AT_ONCE = 0.5, 8

Phase = tuple[bool, bool]
"""(frozen backbone?, small images?): each has a program."""


class Timing(NamedTuple):
    """Of a compiled function.

    Attributes:
        compile_seconds: what the first call took more than others.
        seconds: of a call.
    """

    compile_seconds: float
    seconds: float


class Pace(NamedTuple):
    """What the parts of a run take on this machine.

    Attributes:
        steps: of each phase.
        evaluation: of a batch.
    """

    steps: dict[Phase, Timing]
    evaluation: Timing

    @property
    def compile_seconds(self) -> float:
        """Of all training programs."""
        return sum(timing.compile_seconds for timing in self.steps.values())


class Work(NamedTuple):
    """What is left to do of a run.

    Attributes:
        steps: of each phase; those on cached features, which take next to no time, apart.
        evaluations: how often the weights are judged.
        batches: of evaluation, over all of these and at the end.
    """

    steps: dict[Phase, int]
    evaluations: int
    batches: int

    def seconds(self, pace: Pace) -> float:
        """How long it takes."""
        # A phase that nobody timed is one that a damaged checkpoint goes back to.
        steps = sum(
            pace.steps[phase].seconds * count
            for phase, count in self.steps.items()
            if phase in pace.steps
        )
        return steps + pace.evaluation.seconds * self.batches


def work_after(
    config: Config, per_epoch: int, sizes: Mapping[str, int], watched: str, step: int | None
) -> Work:
    """What a run has to do.

    Args:
        config: resolved.
        per_epoch: steps.
        sizes: split -> how many images an evaluation of it takes.
        watched: the split to select on.
        step: how far it is; None: it has not begun.
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
    """The largest number of steps, at most `most`, that fits into `left` seconds; 0 if none does.

    Args:
        most: 0 or more.
        left: of the time there is.
        seconds: that a run of so many steps takes.
    """
    steps = most
    while steps and (needed := seconds(steps)) > left:
        # What does not grow with the steps makes this too many, never too few.
        steps = min(steps - 1, max(0, int(steps * left / needed)))
    return steps


class Plan(NamedTuple):
    """How much of a run is done.

    Attributes:
        steps: of training.
        seconds: from now on.
    """

    steps: int
    seconds: float


def plan(
    deadline: float, most: int, pace: Pace, work_of: Callable[[int], Work], is_solved: bool
) -> Plan:
    """The longest run that is over in time; of many processes, as the first has it.

    Args:
        deadline: by `time.monotonic`.
        most: steps that are asked for; their programs are compiled, and of another length are not.
        pace: of this machine.
        work_of: steps -> what a run of so many has to do.
        is_solved: whether there is something without a step, too.

    Raises:
        ValueError: there is not, and not one step fits.
    """

    def seconds(steps: int) -> float:
        again = 0.0 if steps in (0, most) else pace.compile_seconds
        return again + work_of(steps).seconds(pace)

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
    """Time a few calls of a jitted function, for a second or so; of many processes all together.

    Args:
        call: once.
        is_compiled: whether the first one compiles nothing.
    """

    def timed(times: int) -> float:
        started, found = time.perf_counter(), None
        for _ in range(times):
            found = call()
        jax.block_until_ready(found)
        return (time.perf_counter() - started) / times

    first = 0.0 if is_compiled else timed(1)
    # The first one after compiling still warms up: pages, caches, threads.
    at_once = broadcast_from_primary(
        max(1, min(_MOST_AT_ONCE, int(_TIMED_SECONDS / max(timed(1), 1e-9))))
    )
    # Of three, as something else may come in between.
    seconds = statistics.median(timed(at_once) for _ in range(3))
    return Timing(max(0.0, first - seconds), seconds)


def measure(
    setup: RunSetup, state: TrainState, images: Mapping[str, Images], phases: list[Phase]
) -> Pace:
    """Time the programs of a run on its first images and a copy of its state.

    Args:
        setup: of the run.
        state: on the mesh; stays as it is.
        images: split name -> its images.
        phases: that it has.
    """
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
    """Noise in the shape of a batch of these images."""
    shape = batch_size, images.height, images.width, 3
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    labels = np.arange(batch_size, dtype=np.int32) % classes
    sizes = None
    if images.view.whole:
        sizes = np.tile(np.array([images.height, images.width], np.int32), (batch_size, 1))
    return Batch(pixels, labels, np.ones(batch_size, np.float32), sizes)


def format_seconds(seconds: float) -> str:
    """A time for a person: "40 s", "2 min 30 s", "15 min", "1 h 40 min"."""
    if seconds < 90:
        return f"{max(1, math.ceil(seconds))} s"
    tens = round(seconds / 10)
    if tens < 60:
        return f"{tens // 6} min" + (f" {tens % 6}0 s" if tens % 6 else "")
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def announcement(work: Work, most: int, steps: int, done: int, seconds: float) -> tuple[str, ...]:
    """What a person is told before it begins.

    Args:
        work: what is to be done.
        most: steps that were asked for.
        steps: of the run.
        done: that a run before did.
        seconds: that it takes.
    """
    lines = []
    if steps < most:
        lines.append(f"budget  {steps:,} of {most:,} steps fit")
    if steps == 0 < most:
        lines = ["budget  not one step fits: the head is solved, and that is all"]
    text = f"{steps - done:,} steps, {work.evaluations} evaluations"
    return (*lines, f"time    about {format_seconds(seconds)}: {text}")

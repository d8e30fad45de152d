"""Many training runs, one after the other or one a device, with how long the rest will take.

A run is a folder of its own; one that is finished is not run again, one that was interrupted goes
on. Nothing is compared here.
"""

import concurrent.futures
import contextlib
import queue
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax

from gtn_jax.config import Config
from gtn_jax.data.sources import Say
from gtn_jax.devices import Device, all_devices
from gtn_jax.errors import ArgumentError
from gtn_jax.runtime.interruption import Interrupted, active
from gtn_jax.training.divergence import Diverged
from gtn_jax.training.loop import run

_RUNS_BETWEEN_CLEARINGS = 10
"""A CPU's programs are thousands of mappings of memory each, of 65,530 that Linux gives a process:
a comparison ended after 95 runs that shared none."""
Summary = dict[str, Any]


class Trial(NamedTuple):
    """One run that is to be.

    Attributes:
        config: of the run.
        folder: of the run.
        finish: given the run's summary, keeps what counts and returns a line about it; called by
            one thread at a time.
        diverged: the same for a run whose loss or gradient was not finite; None: an error.
    """

    config: Config
    folder: Path
    finish: Callable[[Summary], str]
    diverged: Callable[[], str] | None = None


class Clock:
    """How many trials are done, of how many, and when the rest will be."""

    def __init__(self, total: int):
        """Start it; `total` trials are to come, as far as is known: `add` more later."""
        self._total, self._done = total, 0
        self._started = time.monotonic()

    def add(self, trials: int) -> None:
        """There are that many more."""
        self._total += trials

    @property
    def done(self) -> int:
        """Trials that are over."""
        return self._done

    def tick(self) -> str:
        """One is over; returns "[12/108, about 3 min left]"."""
        self._done += 1
        left = (time.monotonic() - self._started) / self._done * (self._total - self._done)
        return f"[{self._done}/{self._total}, about {rough_time(left)} left]"


def rough_time(seconds: float) -> str:
    """A time for people: "8 s", "3 min", "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def choose_devices(count: int | None) -> list[Device]:
    """What trials run on, a device each.

    Args:
        count: how many; None: every local one of an accelerator, but one of a CPU, whose devices
            are all the same cores.

    Raises:
        ValueError: fewer are there, or none of the kind that JAX_PLATFORMS asks for.
    """
    own = jax.process_index()
    local = [device for device in all_devices() if device.process_index == own]
    if count is None:
        return local[:1] if local[0].platform == "cpu" else local
    if not 1 <= count <= len(local):
        raise ArgumentError("count", f"invalid value {count}; this process sees {len(local)}")
    return local[:count]


def run_trials(trials: Sequence[Trial], devices: Sequence[Device], clock: Clock, say: Say) -> None:
    """Run all of them; on one device in this thread, on many in a thread a device.

    Args:
        trials: to run, in this order.
        devices: each has one trial at a time.
        clock: knows about them already.
        say: told of each.

    Raises:
        ValueError: what a run raised; others that had begun are finished first.
        Interrupted: a signal came; what was running is saved.
    """
    on_cpu = devices[0].platform == "cpu"
    part_size = _RUNS_BETWEEN_CLEARINGS if on_cpu else max(1, len(trials))
    for first in range(0, len(trials), part_size):
        before, part = clock.done, trials[first : first + part_size]
        if len(devices) == 1:
            for trial in part:
                keep = _run(trial, devices[0])
                say(f"{clock.tick()} {keep()}")
        else:
            _run_side_by_side(part, devices, clock, say)
        # Between parts nothing runs, on no device: what is cleared is nobody's.
        if on_cpu and clock.done // part_size > before // part_size:
            jax.clear_caches()


def _run_side_by_side(
    trials: Sequence[Trial], devices: Sequence[Device], clock: Clock, say: Say
) -> None:
    """All of them, a thread a device, until the last has ended; raises as `run_trials` does."""
    free: queue.SimpleQueue[Device] = queue.SimpleQueue()
    for device in devices:
        free.put(device)
    stopped = False

    def take(trial: Trial) -> Callable[[], str] | None:
        if stopped or active().number is not None:
            return None
        device = free.get()
        try:
            return _run(trial, device)
        finally:
            free.put(device)

    errors: list[BaseException] = []
    with concurrent.futures.ThreadPoolExecutor(len(devices)) as pool:
        missing = {pool.submit(take, trial) for trial in trials}
        while missing:
            # A signal raises in this thread only; the others see its note after their next step.
            with contextlib.suppress(Interrupted):
                done, missing = concurrent.futures.wait(missing, 0.2, "FIRST_COMPLETED")
                for future in done:
                    error = future.exception()
                    if error is not None:
                        stopped = True
                        errors.append(error)
                    elif (keep := future.result()) is not None:
                        say(f"{clock.tick()} {keep()}")
    active().check()
    if errors:
        raise errors[0]


def _run(trial: Trial, device: Device) -> Callable[[], str]:
    """Run it; returns what is to be called to keep the result."""
    # What a run computes outside of its mesh, e.g. its start, belongs there too.
    with jax.default_device(device):
        try:
            summary = run(trial.config, trial.folder, quiet=True, devices=[device])
        except Diverged:
            if trial.diverged is None:
                raise
            return trial.diverged
    return lambda: trial.finish(summary)

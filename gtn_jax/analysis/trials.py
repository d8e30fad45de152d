"""Many training runs, one at a time on each device, with an estimate of the remaining time.

Each run has a folder: a finished run is not repeated, an interrupted one is resumed.
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
"""A compiled CPU program has thousands of memory mappings, and Linux allows 65,530 per process: a
comparison failed after 95 runs that shared none."""
Summary = dict[str, Any]


class Trial(NamedTuple):
    """One run.

    `finish` keeps what counts of the run's summary and returns a line about it; it is called by one
    thread at a time. `diverged` does so after a non-finite loss or gradient; None: raise.
    """

    config: Config
    folder: Path
    finish: Callable[[Summary], str]
    diverged: Callable[[], str] | None = None


class Clock:
    """Counts finished trials, and estimates the remaining time."""

    def __init__(self, total: int):
        """Start, with `total` trials to come; `add` can extend them."""
        self._total, self._done = total, 0
        self._started = time.monotonic()

    def add(self, trials: int) -> None:
        """Extend the total."""
        self._total += trials

    @property
    def done(self) -> int:
        """Number of finished trials."""
        return self._done

    def tick(self) -> str:
        """Count a finished trial; returns "[12/108, about 3 min left]"."""
        self._done += 1
        left = (time.monotonic() - self._started) / self._done * (self._total - self._done)
        return f"[{self._done}/{self._total}, about {rough_time(left)} left]"


def rough_time(seconds: float) -> str:
    """A duration in words: "8 s", "3 min", "2.5 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def choose_devices(count: int | None) -> list[Device]:
    """Devices for trials; None: all local accelerators, or one CPU device, as these share cores.

    Raises:
        ValueError: fewer devices, or none of the kind given by JAX_PLATFORMS.
    """
    own = jax.process_index()
    local = [device for device in all_devices() if device.process_index == own]
    if count is None:
        return local[:1] if local[0].platform == "cpu" else local
    if not 1 <= count <= len(local):
        raise ArgumentError("count", f"invalid value {count}; this process sees {len(local)}")
    return local[:count]


def run_trials(trials: Sequence[Trial], devices: Sequence[Device], clock: Clock, say: Say) -> None:
    """Run trials in this order, one at a time on each device, and `say` a line about each.

    `clock` counts them already.

    Raises:
        ValueError: from a run, after other running trials have finished.
        Interrupted: a signal arrived; running trials are saved.
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
        # Between parts nothing runs on any device, so that no program in use is cleared.
        if on_cpu and clock.done // part_size > before // part_size:
            jax.clear_caches()


def _run_side_by_side(
    trials: Sequence[Trial], devices: Sequence[Device], clock: Clock, say: Say
) -> None:
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
            # A signal raises only in this thread; the others see it after their next step.
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
    # Computations outside the mesh, e.g. initialization, run there too.
    with jax.default_device(device):
        try:
            summary = run(trial.config, trial.folder, quiet=True, devices=[device])
        except Diverged:
            if trial.diverged is None:
                raise
            return trial.diverged
    return lambda: trial.finish(summary)

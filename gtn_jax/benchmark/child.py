"""`Child`: the parent's side of a worker process."""

import contextlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from typing import Any

from gtn_jax.benchmark.spec import OURS, Spec
from gtn_jax.runtime import allocator

_WARM_UP_SECONDS, _WARM_UP_ITERATIONS, _FEW_FAULTS = 8.0, 30, 50


class ChildError(Exception):
    """A child cannot be measured; the message is the reason, in one line."""


def threads() -> int:
    """Number of cores available to this process, for XLA and the peers."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment(spec: Spec) -> dict[str, str]:
    """Environment of a child: equal threads for all frameworks, no compilation cache."""
    variables = os.environ | {
        "OMP_NUM_THREADS": str(threads()),
        "MKL_NUM_THREADS": str(threads()),
        # The peers share the device's memory.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "JAX_ENABLE_COMPILATION_CACHE": "false",
    }
    # Peers run without the C library settings of `gtn`.
    if spec.framework != OURS and variables.get("GLIBC_TUNABLES") == allocator.HUGE_PAGES:
        del variables["GLIBC_TUNABLES"]
    for name, value in spec.env:
        is_added = name == "XLA_FLAGS" and variables.get(name)
        variables[name] = f"{variables[name]} {value}" if is_added else value
    return variables


class Child:
    """A worker process. `close` ends it; it also ends with its parent.

    Methods raise `ChildError` if it fails or does not answer within `timeout` seconds. `amount` is
    per iteration in the spec's unit, `first_step_seconds` since the start of the process,
    `iteration_seconds` of the last warm-up iteration, `memory` see `workload.peak_memory`.
    """

    def __init__(self, spec: Spec):
        """Start the process; call `wait_until_ready` next."""
        self.spec = spec
        self.facts: dict[str, Any] = {}
        self.memory: dict[str, int] = {}
        self.amount = self.first_step_seconds = self.iteration_seconds = 0.0
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self._connection, theirs = multiprocessing.Pipe()
        self._started = time.time()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gtn_jax.benchmark.worker", str(theirs.fileno())],
            stdin=subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            env=environment(spec),
            pass_fds=[theirs.fileno()],
        )
        theirs.close()

    def wait_until_ready(self, timeout: float) -> None:
        """Build the workload, and run one iteration."""
        answer = self._ask(self.spec, timeout)
        self.facts, self.amount = answer["facts"], answer.get("amount", 0.0)
        self.first_step_seconds = answer.get("first_step_at", self._started) - self._started

    def warm_up(self, timeout: float) -> None:
        """Iterate until the process stops taking new memory, which slows steps down."""
        end = time.monotonic() + _WARM_UP_SECONDS
        for _ in range(_WARM_UP_ITERATIONS):
            answer = self._ask(1, timeout)
            self.iteration_seconds, self.memory = answer["seconds"], answer["memory"]
            if answer["page_faults"] <= _FEW_FAULTS or time.monotonic() > end:
                break

    def repeat(self, iterations: int, timeout: float) -> float:
        """Seconds for this number of iterations."""
        return self._ask(iterations, timeout)["seconds"]

    def close(self) -> None:
        """Kill the process; may be called twice."""
        self._connection.close()
        self._process.kill()
        self._process.wait()
        self._output.close()

    def _ask(self, message: Spec | int, timeout: float) -> dict[str, Any]:
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            self._connection.send(message)
        if not self._connection.poll(max(timeout, 0.0)):
            raise ChildError(f"no answer within {timeout:.0f} s")
        try:
            answer = self._connection.recv()
        except (EOFError, ConnectionResetError):
            raise ChildError(self._last_line()) from None
        if isinstance(answer, str):
            raise ChildError(answer)
        return answer

    def _last_line(self) -> str:
        code = self._process.wait()
        self._output.seek(0)
        lines = self._output.read().decode(errors="replace").split("\n")
        written = [line.strip() for line in lines if line.strip()]
        return f"ended with code {code}" + (f": {written[-1][:200]}" if written else "")

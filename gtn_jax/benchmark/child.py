"""The parent's side of a worker: start it, ask it, end it."""

import contextlib
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from typing import Any

from gtn_jax.benchmark.spec import OURS, Spec
from gtn_jax.runtime import allocator


class ChildError(Exception):
    """A child that cannot be measured; its text is the reason, in one line."""


def threads() -> int:
    """Cores this process may use: what XLA takes, and what the peers are given."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def environment(spec: Spec) -> dict[str, str]:
    """The child's: equal threads, several processes on one accelerator, and nothing cached.

    Peers start as their users start them, without what `gtn` tells the C library.
    """
    count = str(threads())
    found = os.environ | {
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        # Peers share the device's memory; nobody may take it all at the start.
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "JAX_ENABLE_COMPILATION_CACHE": "false",
    }
    if spec.framework != OURS and found.get("GLIBC_TUNABLES") == allocator.HUGE_PAGES:
        del found["GLIBC_TUNABLES"]
    for name, value in spec.env:
        is_added = name == "XLA_FLAGS" and found.get(name)
        found[name] = f"{found[name]} {value}" if is_added else value
    return found


class Child:
    """One worker process. Whoever starts it ends it; when its input ends, it ends by itself.

    Attributes:
        spec: what it builds.
        told: what it said when it was ready.
        first_step_seconds: from its start to the end of its first step; 0 if it takes none.
    """

    def __init__(self, spec: Spec):
        """Start the process; `wait_until_ready` comes next."""
        self.spec = spec
        self.told: dict[str, Any] = {}
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by `close`)
        self.first_step_seconds = 0.0
        self._started = time.time()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gtn_jax.benchmark.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=environment(spec),
            bufsize=0,
        )

    def wait_until_ready(self, timeout: float) -> None:
        """Build, and iterate once.

        Raises:
            ChildError: it failed, or took longer than `timeout` seconds.
        """
        try:
            self.told = self._ask(self.spec.to_json(), timeout)["ready"]
        except BaseException:
            self.close()
            raise
        if "first_step_at" in self.told:
            self.first_step_seconds = self.told["first_step_at"] - self._started

    def settle(self, timeout: float) -> None:
        """Warm up until no iteration takes new memory, if there is anything to iterate.

        Raises:
            ChildError: as `wait_until_ready`.
        """
        if "first_step_at" in self.told:
            self.told |= self._ask(json.dumps({"settle": True}), timeout)

    def repeat(self, iterations: int, timeout: float) -> float:
        """Seconds of so many iterations.

        Raises:
            ChildError: as `wait_until_ready`.
        """
        return self._ask(json.dumps({"iterations": iterations}), timeout)["seconds"]

    def memory(self) -> dict[str, int]:
        """Peak bytes so far, see `workload.memory_in_use`."""
        return self._ask(json.dumps({"memory": True}), 60)["memory"]

    def close(self) -> None:
        """End the process, whatever it is doing; twice is no harm."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.kill()
        self._process.wait()
        self._errors.close()

    def _ask(self, line: str, timeout: float) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        with contextlib.suppress(BrokenPipeError):  # then there is no answer either
            stdin.write(line.encode() + b"\n")
        if not select.select([stdout], [], [], max(timeout, 0.0))[0]:
            raise ChildError(f"no answer within {timeout:.0f} s")
        answer = stdout.readline()
        if not answer:
            raise ChildError(self._last_words())
        message = json.loads(answer)
        if "reason" in message:
            raise ChildError(message["reason"])
        return message

    def _last_words(self) -> str:
        code = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()]
        return f"ended with code {code}" + (f": {said[-1][:200]}" if said else "")

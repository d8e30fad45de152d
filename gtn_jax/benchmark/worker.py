"""A child process of the benchmark: one workload, told by its parent when to run.

Lines of JSON, both ways. In: a `Spec`, then {"settle": true}, {"iterations": n} or
{"memory": true}, each when the parent wants it; the end of the input ends the process. Out:
{"ready": ...} or {"reason": ...}, then an answer to each. Whatever libraries print goes to standard
error.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from gtn_jax.benchmark.spec import OURS, Spec
from gtn_jax.benchmark.workload import Workload, memory_in_use

SETTLING_SECONDS = 8.0
"""After which an iteration that still takes new memory is the last before the first that counts."""
_SETTLING_ITERATIONS = 30
_FEW_FAULTS = 50


def _builder(framework: str) -> Callable[[Spec], Workload]:
    # Imported by need: a peer's process holds nothing of the others.
    if framework == OURS:
        from gtn_jax.runtime.allocator import collect_garbage_rarely, keep_freed_memory

        keep_freed_memory()  # as every verb of `gtn` that computes does
        collect_garbage_rarely()
        from gtn_jax.benchmark import ours as module
    elif framework == "flax":
        from gtn_jax.benchmark import flax_peer as module
    elif framework == "torch":
        from gtn_jax.benchmark import torch_peer as module
    else:
        from gtn_jax.benchmark import limits as module
    return module.build


def probe() -> dict[str, Any]:
    """What JAX finds: platform, kind and number of devices."""
    import jax

    devices = jax.devices()
    return {
        "platform": devices[0].platform,
        "device": devices[0].device_kind,
        "devices": len(devices),
    }


def prepare(spec: Spec) -> tuple[Workload, dict[str, Any]]:
    """Build, and iterate once.

    Returns:
        The workload and what the parent is told: facts, rows, when the first iteration was over.
    """
    if spec.framework == "probe":
        return Workload(None), {"facts": probe()}
    workload = _builder(spec.framework)(spec)
    told: dict[str, Any] = {
        "amount": workload.amount,
        "rows": list(workload.rows),
    }
    facts = dict(workload.facts)
    if workload.run is not None:
        facts["first_seconds"] = timed(workload, 1)
        told["first_step_at"] = time.time()
    return workload, told | {"facts": facts}


def _settled(workload: Workload) -> float:
    """Iterate until the process takes no new memory; seconds of the last iteration.

    For its first 10 to 30 steps a heap grows, and each of them waits for the kernel.
    """
    end, seconds = time.monotonic() + SETTLING_SECONDS, 0.0
    for _ in range(_SETTLING_ITERATIONS):
        faults, seconds = _page_faults(), timed(workload, 1)
        if _page_faults() - faults <= _FEW_FAULTS or time.monotonic() > end:
            break
    return seconds


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def timed(workload: Workload, iterations: int) -> float:
    """Seconds that so many iterations take."""
    assert workload.run is not None
    start = time.perf_counter()
    workload.run(iterations)
    return time.perf_counter() - start


def serve(lines: TextIO, out: TextIO) -> None:
    """Answer the parent until it ends."""

    def tell(**message: Any) -> None:
        print(json.dumps(message), file=out, flush=True)

    try:
        workload, told = prepare(Spec.from_json(lines.readline()))
    except ImportError as error:
        tell(reason=f"{error.name} is not installed" if error.name else str(error))
        return
    except Exception as error:
        first_line = str(error).strip().split("\n")[0]
        tell(reason=f"{type(error).__name__}: {first_line[:200]}")
        raise
    tell(ready=told)
    for line in lines:
        wanted = json.loads(line)
        if "iterations" in wanted:
            tell(seconds=timed(workload, wanted["iterations"]))
        elif "settle" in wanted:
            tell(iteration_seconds=_settled(workload))
        else:
            tell(memory=memory_in_use())


def main() -> None:
    """Serve on the process's own pipes; see the module."""
    # What native code prints to standard output would be read as an answer.
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        try:
            serve(sys.stdin, out)
        except (KeyboardInterrupt, BrokenPipeError):
            sys.exit(130)  # Ctrl-C reaches parent and children alike; the parent says so.


if __name__ == "__main__":
    main()

"""A child process, which runs one workload of the benchmark.

Its argument is the file descriptor of a connection. It receives a `Spec`, then numbers of
iterations, and answers with dicts, or with a str, the reason, if it cannot build the workload.
"""

import contextlib
import resource
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection

from gtn_jax.benchmark.spec import INPUT, OURS, Spec
from gtn_jax.benchmark.workload import Workload, peak_memory


def _builder(spec: Spec) -> Callable[[Spec], Workload]:
    # Imported here, as the process of one framework must not load the others.
    if spec.framework == OURS:
        from gtn_jax.runtime.allocator import collect_garbage_rarely, keep_freed_memory

        keep_freed_memory()  # as in `gtn`
        collect_garbage_rarely()
        if spec.kind in ("end_to_end", *INPUT):
            from gtn_jax.benchmark import input as module
        else:
            from gtn_jax.benchmark import ours as module
    elif spec.framework == "flax":
        from gtn_jax.benchmark import flax_peer as module
    elif spec.framework == "torch":
        from gtn_jax.benchmark import torch_peer as module
    else:
        from gtn_jax.benchmark import limits as module
    return module.build


def _seconds(workload: Workload, iterations: int) -> float:
    start = time.perf_counter()
    result = None
    for _ in range(iterations):
        result = workload.step()
    workload.wait(result)
    return time.perf_counter() - start


def _page_faults() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt


def serve(parent: Connection) -> None:
    """Build the workload of a spec, run one iteration, then as many as the parent asks for."""
    try:
        spec = parent.recv()
        if spec.kind == "devices":
            import jax

            device, count = jax.devices()[0], jax.device_count()
            about = {"platform": device.platform, "device": device.device_kind, "devices": count}
            return parent.send({"facts": about})
        workload = _builder(spec)(spec)
        facts = workload.facts | {"first_seconds": _seconds(workload, 1)}
        parent.send({"amount": workload.amount, "facts": facts, "first_step_at": time.time()})
    except ImportError as error:
        return parent.send(f"{error.name} is not installed" if error.name else str(error))
    except Exception as error:
        first_line = str(error).strip().split("\n")[0]
        return parent.send(f"{type(error).__name__}: {first_line[:200]}")
    with contextlib.suppress(EOFError):
        while True:
            iterations, faults = parent.recv(), _page_faults()
            answer = {"seconds": _seconds(workload, iterations), "memory": peak_memory()}
            parent.send(answer | {"page_faults": _page_faults() - faults})


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))

"""`Workload`, which builders make for the worker, and code shared by the builders."""

import itertools
import resource
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Workload(NamedTuple):
    """A function to time.

    `step` is one iteration, and may return before `wait` does with its result; `amount` is in the
    spec's unit (without "/s"); `facts` are known without timing, e.g. compile_seconds, flops.
    """

    step: Callable[[], Any]
    amount: float
    wait: Callable[[Any], object] = lambda result: None
    facts: dict[str, Any] = {}  # noqa: RUF012 (never changed)


def training(jitted: Any, state: Any, batches: Iterable[tuple[Any, ...]], images: int) -> Workload:
    """Training steps, each on the state of the previous one.

    `jitted` is (state, *batch) -> (state, metrics), and may donate; `batches` are endless, of equal
    shapes, on the device, with `images` images each.
    """
    import jax

    batches = iter(batches)
    first = next(batches)
    compiled, facts = compile_timed(jitted, state, *first)
    batches = itertools.chain([first], batches)

    def step() -> Any:
        nonlocal state
        state, metrics = compiled(state, *next(batches))
        return state, metrics

    return Workload(step, images, jax.block_until_ready, facts)


def compile_timed(jitted: Any, *arguments: Any) -> tuple[Any, dict[str, Any]]:
    """Trace, lower and compile a jitted function for these arguments.

    Returns:
        The compiled function, and facts: trace_seconds (Python to jaxpr), lower_seconds (to
        StableHLO), compile_seconds (XLA); flops of one call, as XLA counts the optimized program.
    """
    start = time.perf_counter()
    traced = jitted.trace(*arguments)
    trace_end = time.perf_counter()
    lowered = traced.lower()
    lower_end = time.perf_counter()
    compiled = lowered.compile()
    facts: dict[str, Any] = {
        "trace_seconds": trace_end - start,
        "lower_seconds": lower_end - trace_end,
        "compile_seconds": time.perf_counter() - lower_end,
    }
    cost = compiled.cost_analysis() or {}
    return compiled, facts | {name: float(cost[name]) for name in ("flops",) if name in cost}


def peak_memory() -> dict[str, int]:
    """Peak bytes of this process so far; on an accelerator also those of its first device."""
    # Linux reports KiB, macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    peaks = {"peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if "torch" in sys.modules:  # JAX may be imported too, but has no device
        cuda = sys.modules["torch"].cuda
        if cuda.is_available():
            peaks["peak_device_bytes"] = cuda.max_memory_allocated()
    elif "jax" in sys.modules:
        stats = sys.modules["jax"].local_devices()[0].memory_stats() or {}
        if "peak_bytes_in_use" in stats:
            peaks["peak_device_bytes"] = stats["peak_bytes_in_use"]
    return peaks

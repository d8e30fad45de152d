"""`Workload`, what a builder gives to the worker, and what is common to the builders."""

import itertools
import resource
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple


class Workload(NamedTuple):
    """Something that can be timed.

    Attributes:
        step: one iteration; it may return before its work is done.
        amount: of the spec's unit (without its "/s") in one iteration, e.g. images.
        wait: waits until what the last `step` returned is done.
        facts: known without timing, e.g. compile_seconds, flops; numbers and strings.
    """

    step: Callable[[], Any]
    amount: float
    wait: Callable[[Any], object] = lambda result: None
    facts: dict[str, Any] = {}  # noqa: RUF012 (never changed)


def training(jitted: Any, state: Any, batches: Iterable[tuple[Any, ...]], images: int) -> Workload:
    """Training steps, each on the state of the one before.

    Args:
        jitted: (state, *batch) -> (state, metrics).
        state: before the first step; it may be donated.
        batches: endless, of equal shapes, on the device.
        images: in each batch.
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
    """Trace, lower and compile a jitted function for these arguments; none is donated.

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
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if "torch" in sys.modules:  # JAX may be imported too, but has no device
        cuda = sys.modules["torch"].cuda
        if cuda.is_available():
            found["peak_device_bytes"] = cuda.max_memory_allocated()
    elif "jax" in sys.modules:
        stats = sys.modules["jax"].local_devices()[0].memory_stats() or {}
        if "peak_bytes_in_use" in stats:
            found["peak_device_bytes"] = stats["peak_bytes_in_use"]
    return found

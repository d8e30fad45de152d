"""`Workload`: what a builder hands to the worker, and the memory that it takes."""

import resource
import sys
from collections.abc import Callable
from typing import Any, NamedTuple


class Workload(NamedTuple):
    """Something that can be timed.

    Attributes:
        run: does so many iterations and returns when they are done.
        amount: of the spec's unit (without its "/s") in one iteration, e.g. the images of a step.
        facts: what is known without timing: compile_seconds, flops, ...
        rows: figures that the builder measured itself, as `Row.as_json` gives them; then there is
            nothing to run.
    """

    run: Callable[[int], None] | None
    amount: float = 1.0
    facts: dict[str, Any] = {}  # noqa: RUF012 (never changed)
    rows: tuple[dict[str, Any], ...] = ()


def memory_in_use() -> dict[str, int]:
    """Peak bytes of this process so far; on an accelerator also those of its first device."""
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    facts = {"peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if "torch" in sys.modules:  # whose process has JAX imported, but not awake
        cuda = sys.modules["torch"].cuda
        if cuda.is_available():
            facts["peak_device_bytes"] = cuda.max_memory_allocated()
    elif "jax" in sys.modules:
        stats = sys.modules["jax"].local_devices()[0].memory_stats() or {}
        if "peak_bytes_in_use" in stats:
            facts["peak_device_bytes"] = stats["peak_bytes_in_use"]
    return facts

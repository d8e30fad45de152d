"""A jitted function -> its compiled program, with what the program will cost."""

import time
from typing import Any

from gtn_jax.benchmark.collectives import collectives


def compile_apart(jitted: Any, *arguments: Any) -> tuple[Any, dict[str, Any]]:
    """Compile a jitted function, each station timed.

    Args:
        jitted: from `jax.jit`.
        *arguments: to compile for; they are not used up.

    Returns:
        The compiled function, and facts: trace_seconds (Python to jaxpr), lower_seconds (to
        StableHLO), compile_seconds (XLA); flops and bytes of one call as XLA counts them in the
        optimised program, and before; argument, output, temp and alias bytes; collectives by kind.
    """
    clock = [time.perf_counter()]
    traced = jitted.trace(*arguments)
    clock.append(time.perf_counter())
    lowered = traced.lower()
    clock.append(time.perf_counter())
    compiled = lowered.compile()
    clock.append(time.perf_counter())
    stations = ("trace_seconds", "lower_seconds", "compile_seconds")
    facts: dict[str, Any] = {
        name: after - before
        for name, before, after in zip(stations, clock[:-1], clock[1:], strict=True)
    }
    facts |= _cost(compiled, "") | _cost(lowered, "_before_optimisation") | _memory(compiled)
    facts["collectives"] = count_collectives(compiled.as_text() or "")
    return compiled, facts


def count_collectives(hlo_text: str) -> dict[str, dict[str, int]]:
    """Kind -> {"count": ..., "bytes": ...} of one call of a program, by `collectives`."""
    found: dict[str, dict[str, int]] = {}
    for kind, size in collectives(hlo_text):
        entry = found.setdefault(kind, {"count": 0, "bytes": 0})
        entry["count"] += 1
        entry["bytes"] += size
    return found


def _cost(program: Any, suffix: str) -> dict[str, float]:
    found = program.cost_analysis() or {}
    names = {"flops": "flops", "bytes accessed": "bytes"}
    return {ours + suffix: float(found[name]) for name, ours in names.items() if name in found}


def _memory(compiled: Any) -> dict[str, int]:
    found = compiled.memory_analysis()
    if found is None:
        return {}
    parts = ("argument", "output", "temp", "alias")
    return {f"{part}_bytes": int(getattr(found, f"{part}_size_in_bytes")) for part in parts}

"""Time from the start of a process to the end of its first step, without and with a warm cache.

Each round makes a persistent compilation cache of its own in a temporary folder: the first process
fills it, the second reads it.
"""

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Sequence

from gtn_jax.benchmark.child import Child, ChildError
from gtn_jax.benchmark.rows import Row, median_row, not_measured, paired_ratios
from gtn_jax.benchmark.spec import Spec

_PARTS = ("trace_seconds", "lower_seconds", "compile_seconds", "first_seconds")


def with_cache(spec: Spec, folder: str) -> Spec:
    """`spec` with every program cached in `folder`, also the small ones."""
    cache = (
        ("JAX_ENABLE_COMPILATION_CACHE", "true"),
        ("JAX_COMPILATION_CACHE_DIR", folder),
        ("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0"),
        ("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1"),
    )
    return dataclasses.replace(spec, env=(*spec.env, *cache))


def start_once(spec: Spec, timeout: float) -> dict[str, float]:
    """Seconds to the first step's end ("total"), and of tracing, lowering, compiling in it.

    Raises:
        ChildError: it did not come to a first step.
    """
    with contextlib.closing(Child(spec)) as child:
        child.wait_until_ready(timeout)
        facts = child.told["facts"]
        parts = {name: facts[name] for name in _PARTS if name in facts}
        return {"total": child.first_step_seconds, **parts}


def group_start_rows(
    specs: Sequence[Spec], rounds: tuple[int, int], soft: float, deadline: float
) -> list[Row]:
    """`start_rows` of each spec; the time up to `soft` is theirs in equal parts."""
    rows = []
    for index, spec in enumerate(specs):
        now = time.monotonic()
        share = max(soft - now, 0) / (len(specs) - index)
        rows += start_rows(spec, rounds, now + share, deadline)
    return rows


def start_rows(spec: Spec, rounds: tuple[int, int], soft: float, deadline: float) -> list[Row]:
    """Rows of cold and warm starts, and of warm over cold.

    Args:
        spec: a training step.
        rounds: at least (while the time lasts) and at most.
        soft: no further round after the first ones that would end later (time.monotonic).
        deadline: none at all later than this.
    """
    cold: list[dict[str, float]] = []
    warm: list[dict[str, float]] = []
    name = f"start/{spec.name}"
    reason = "the time of the run was over"
    for done in range(rounds[1]):
        began = time.monotonic()
        limit = deadline if done < rounds[0] else min(soft, deadline)
        if began + 1 > deadline:
            break
        if cold and began + cold[-1]["total"] + warm[-1]["total"] > limit:
            break
        with tempfile.TemporaryDirectory(prefix="gtn-benchmark-") as folder:
            try:
                both = [start_once(with_cache(spec, folder), deadline - began) for _ in range(2)]
            except ChildError as error:
                reason = str(error)
                break
        cold.append(both[0])
        warm.append(both[1])
    if not cold:
        return [not_measured(name, spec.label, "seconds", reason)]
    rows = []
    for word, found in (("cold", cold), ("warm", warm)):
        for part in found[0]:
            values = [each[part] for each in found]
            rows.append(median_row(f"{name}/{word}/{part}", spec.label, values, "seconds"))
    totals = [[each["total"] for each in found] for found in (warm, cold)]
    rows.append(median_row(f"{name}/ratio", "warm / cold", paired_ratios(*totals), "ratio"))
    return rows

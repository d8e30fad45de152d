"""Groups -> rows: children are started, timed in turns, compared and ended, within a time limit.

No device is used here: an accelerator belongs to the children.
"""

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Callable, Collection, Sequence

from gtn_jax.benchmark.child import Child, ChildError
from gtn_jax.benchmark.rows import (
    Row,
    child_rows,
    comparison_rows,
    median_row,
    not_measured,
    paired_ratios,
    rate_row,
)
from gtn_jax.benchmark.spec import Group, Spec

_LONGEST_START = 420.0
"""Seconds until a child is ready; compilation should not take longer."""
_REPEAT_SECONDS = 1.0
"""A repeat is as many iterations as fit into this, at least one."""
_OVER = "the time of the run was over"

Children = dict[Spec, Child]
"""Live children; those that the next group needs stay alive."""


def measure(
    groups: Sequence[Group],
    minutes: float,
    say: Callable[[str], None],
    save: Callable[[list[Row]], None],
) -> list[Row]:
    """Rows of all groups, the most important first; what does not fit is reported as not measured.

    `say` receives a line per group, `save` all rows so far after each group.
    """
    deadline = time.monotonic() + 60 * minutes
    rows: dict[tuple[str, str], Row] = {}
    children: Children = {}
    try:
        for index, group in enumerate(groups):
            now = time.monotonic()
            left = max(deadline - now, 0)
            share = left * group.weight / sum(other.weight for other in groups[index:])
            say(f"{group.name}: {len(group.specs)} to measure, {left:.0f} s left")
            _end_all_but(children, group.specs)
            measured = _start_rows if group.starts else _group_rows
            for row in measured(children, group, now + share, deadline):
                known = rows.get((row.name, row.framework), row)
                kept = row if known.value is None else known
                kept.extra["groups"] = [*known.extra.get("groups", []), group.name]
                rows[row.name, row.framework] = kept
            save(list(rows.values()))
    finally:
        _end_all_but(children)
    return list(rows.values())


def _end_all_but(children: Children, specs: Collection[Spec] = ()) -> None:
    for spec in [spec for spec in children if spec not in specs]:
        children.pop(spec).close()


def _ready(children: Children, spec: Spec, timeout: float) -> Child:
    """The started and warmed-up child of a spec; ChildError after `timeout` seconds."""
    if spec not in children:
        child = Child(spec)
        try:
            child.wait_until_ready(timeout)
            child.warm_up(timeout)
        except BaseException:
            child.close()
            raise
        children[spec] = child
    return children[spec]


def _group_rows(children: Children, group: Group, soft: float, deadline: float) -> list[Row]:
    """Start the children that are not alive, repeat in turns, and compare.

    After `soft` only the first rounds begin, and after `deadline` none (by time.monotonic).
    """
    rows: list[Row] = []
    ready: list[Child] = []
    for spec in group.specs:
        left = deadline - time.monotonic()
        try:
            if left < 1:
                raise ChildError(_OVER)
            ready.append(_ready(children, spec, min(left, _LONGEST_START)))
            rows += child_rows(ready[-1])
        except ChildError as error:
            rows.append(not_measured(spec.name, spec.label, spec.unit, str(error)))
    rates, failed = _rounds(ready, group, soft, deadline)
    for spec, error in failed.items():
        rows.append(not_measured(spec.name, spec.label, spec.unit, str(error)))
        children.pop(spec).close()
    rows += [rate_row(children[spec], its_rates) for spec, its_rates in rates.items()]
    return rows + (comparison_rows(group.specs, rates) if group.compares else [])


def _rounds(
    ready: Sequence[Child], group: Group, soft: float, deadline: float
) -> tuple[dict[Spec, list[float]], dict[Spec, ChildError]]:
    """Rates of each round, equally many per spec; and the specs that failed.

    A round is one repeat of each child, in turns.
    """
    counts = [max(1, min(1000, round(_REPEAT_SECONDS / c.iteration_seconds))) for c in ready]
    pairs = list(zip(ready, counts, strict=True))
    rates: dict[Spec, list[float]] = {child.spec: [] for child in ready}
    failed: dict[Spec, ChildError] = {}
    longest = sum(count * child.iteration_seconds for child, count in pairs)
    for done in range(group.rounds[1] if ready else 0):
        start = time.monotonic()
        limit = deadline if done < group.rounds[0] else min(soft, deadline)
        if start + longest > limit:
            break
        for child, count in pairs:
            if child.spec not in failed:
                try:
                    seconds = child.repeat(count, max(60.0, 10 * longest))
                    rates[child.spec].append(child.amount * count / seconds)
                except ChildError as error:
                    failed[child.spec] = error
                    del rates[child.spec]
        longest = max(longest, time.monotonic() - start)
    return rates, failed


def _start_rows(children: Children, group: Group, soft: float, deadline: float) -> list[Row]:
    """Rows of cold and warm starts of each spec, and of warm over cold.

    A start lasts from that of the process to the end of its first step. Each round has its own
    compilation cache: the first process fills it, the second reads it. The specs share the time
    until `soft` equally; otherwise as `_group_rows`.
    """
    rows: list[Row] = []
    for index, spec in enumerate(group.specs):
        now = time.monotonic()
        its_soft = now + max(soft - now, 0) / (len(group.specs) - index)
        starts: dict[str, list[dict[str, float]]] = {"cold": [], "warm": []}
        name, reason, longest = f"start/{spec.name}", _OVER, 1.0
        for done in range(group.rounds[1]):
            began = time.monotonic()
            if began + longest > (deadline if done < group.rounds[0] else min(its_soft, deadline)):
                break
            try:
                with tempfile.TemporaryDirectory(prefix="gtn-benchmark-") as folder:
                    both = [_start(spec, folder, deadline - began) for _ in starts]
            except ChildError as error:
                reason = str(error)
                break
            for runs, parts in zip(starts.values(), both, strict=True):
                runs.append(parts)
            longest = max(longest, time.monotonic() - began)
        if not starts["cold"]:
            rows.append(not_measured(name, spec.label, "seconds", reason))
            continue
        for cache, runs in starts.items():
            for part in runs[0]:
                values = [parts[part] for parts in runs]
                rows.append(median_row(f"{name}/{cache}/{part}", spec.label, values, "seconds"))
        cold, warm = ([parts["total"] for parts in runs] for runs in starts.values())
        rows.append(median_row(f"{name}/ratio", "warm / cold", paired_ratios(warm, cold), "ratio"))
    return rows


def _start(spec: Spec, cache_folder: str, timeout: float) -> dict[str, float]:
    """Seconds to the end of the first step ("total"), and of its parts."""
    cache = {
        "JAX_ENABLE_COMPILATION_CACHE": "true",
        "JAX_COMPILATION_CACHE_DIR": cache_folder,
        # Cache small programs too.
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    cached = dataclasses.replace(spec, env=(*spec.env, *cache.items()))
    with contextlib.closing(Child(cached)) as child:
        child.wait_until_ready(timeout)
        parts = {name: s for name, s in child.facts.items() if name.endswith("_seconds")}
        return {"total": child.first_step_seconds, **parts}

"""Groups -> rows: children are started, timed in turns, compared, and ended, within a time limit.

Nothing here wakes a device: an accelerator belongs to the children.
"""

import contextlib
import datetime
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from gtn_jax.benchmark.child import Child, ChildError, threads
from gtn_jax.benchmark.growth import Point, reason_to_skip
from gtn_jax.benchmark.report import child_rows, comparison_rows, frozen_share_rows, rate_row
from gtn_jax.benchmark.rows import Row, not_measured, write_document
from gtn_jax.benchmark.spec import Group, Spec
from gtn_jax.benchmark.startup import group_start_rows
from gtn_jax.runs.provenance import versions

Say = Callable[[str], None]
_LONGEST_START = 420.0
"""Seconds a child may take to be ready: a program that compiles for longer is one to look at."""


class Children:
    """The live children; one that the next group wants too stays alive."""

    def __init__(self) -> None:
        """None yet."""
        self._alive: dict[Spec, Child] = {}

    def close(self) -> None:
        """End all."""
        self.keep(())

    def keep(self, specs: Iterable[Spec]) -> None:
        """End all others."""
        kept = set(specs)
        for spec in [spec for spec in self._alive if spec not in kept]:
            self._alive.pop(spec).close()

    def get(self, spec: Spec, timeout: float) -> Child:
        """The child of a spec, started and warmed up.

        Raises:
            ChildError: it could not be made ready in time.
        """
        if spec not in self._alive:
            child = Child(spec)
            self._alive[spec] = child
            try:
                child.wait_until_ready(timeout)
                child.settle(timeout)
            except BaseException:
                self.drop(spec)
                raise
        return self._alive[spec]

    def drop(self, spec: Spec) -> None:
        """End one that failed."""
        self._alive.pop(spec).close()


def measure(
    groups: Sequence[Group], minutes: float, say: Say, save: Callable[[list[Row]], None]
) -> list[Row]:
    """All rows of all groups.

    Args:
        groups: in the order of their importance.
        minutes: for all of them; what does not fit is reported as not measured.
        say: told of each group and each row.
        save: given all rows so far after each group.
    """
    deadline = time.monotonic() + 60 * minutes
    rows: dict[tuple[str, str], Row] = {}
    spent: dict[str, list[Point]] = {}
    with contextlib.closing(Children()) as children:
        for index, group in enumerate(groups):
            left = deadline - time.monotonic()
            share = group.weight / sum(other.weight for other in groups[index:])
            say(f"{group.name}: {len(group.specs)} to measure, {max(left, 0):.0f} s left")
            children.keep(group.specs)
            soft = time.monotonic() + share * max(left, 0)
            if group.starts:
                found = group_start_rows(group.specs, group.rounds, soft, deadline)
            elif group.axis:
                known = rows.get((group.specs[0].name, group.specs[0].label))
                found = _point_rows(children, group, known, spent, soft, deadline)
            else:
                found = measure_group(children, group, soft, deadline)
            _add(rows, found, group.name)
            save(list(rows.values()))
    return list(rows.values())


def _point_rows(
    children: Children,
    group: Group,
    known: Row | None,
    spent: dict[str, list[Point]],
    soft: float,
    deadline: float,
) -> list[Row]:
    """Rows of one point of growth; `known` where another axis has it, none begun that will not fit.

    What it took is added to `spent`, axis -> its points so far; the rest as in `measure_group`.
    """
    spec, start = group.specs[0], time.monotonic()
    points = spent.setdefault(group.axis, [])
    if known is not None and known.value is not None:
        every = [point for others in spent.values() for point in others]
        points += [point for point in every if point.spec == spec][:1]
        return [known]
    reason = reason_to_skip(spec, points, deadline - start)
    if reason is not None:
        return [not_measured(spec.name, spec.label, spec.unit, reason)]
    rows = measure_group(children, group, soft, deadline)
    steps = [row.extra["seconds"][-1] for row in rows if row.extra.get("seconds")]
    points.append(Point(spec, time.monotonic() - start, *steps[:1]))
    return rows


def _add(rows: dict[tuple[str, str], Row], found: list[Row], group: str) -> None:
    """Put new rows in; of two of the same thing the first that has a value stays."""
    for row in found:
        known = rows.get(row.key, row)
        groups = list(dict.fromkeys([*known.extra.get("groups", []), group]))
        if known.value is None:
            known = row
        known.extra["groups"] = groups
        rows[row.key] = known


def measure_group(children: Children, group: Group, soft: float, deadline: float) -> list[Row]:
    """Start what is not alive, repeat in turns, and make rows of it.

    Args:
        children: where live ones are.
        group: of which at least the first rounds are done after `soft`, but none after
            `deadline` (both by time.monotonic).
        soft: see `group`.
        deadline: see `group`.
    """
    rows: list[Row] = []
    ready: list[Child] = []
    for spec in group.specs:
        left = deadline - time.monotonic()
        try:
            if left < 1:
                raise ChildError("the time of the run was over")
            child = children.get(spec, min(left, _LONGEST_START))
        except ChildError as error:
            rows.append(not_measured(spec.name, spec.label, spec.unit, str(error)))
            continue
        rows += child_rows(child)
        if not child.told["rows"]:
            ready.append(child)
    seconds = _rounds(children, ready, group, soft, deadline, rows)
    rates = {}
    for child, found in seconds.items():
        row, rates[child.spec] = rate_row(child, found)
        rows.append(row)
    if group.compares:
        rows += comparison_rows(group.specs, rates)
    return rows


def _rounds(
    children: Children,
    ready: list[Child],
    group: Group,
    soft: float,
    deadline: float,
    rows: list[Row],
) -> dict[Child, list[float]]:
    """Seconds an iteration, a list of equal length for each child; those that fail become rows."""
    counts = {
        child: max(1, min(1000, round(group.repeat_seconds / child.told["iteration_seconds"])))
        for child in ready
    }
    seconds: dict[Child, list[float]] = {child: [] for child in ready}
    at_least, at_most = group.rounds
    longest = sum(counts[child] * child.told["iteration_seconds"] for child in ready)
    for done in range(at_most if ready else 0):
        limit = deadline if done < at_least else min(soft, deadline)
        if time.monotonic() + longest > limit:
            break
        start = time.monotonic()
        for child in list(seconds):
            try:
                timeout = max(60.0, 10 * longest)
                taken = child.repeat(counts[child], timeout)
                seconds[child].append(taken / counts[child])
            except ChildError as error:
                spec = child.spec
                rows.append(not_measured(spec.name, spec.label, spec.unit, str(error)))
                del seconds[child]
                children.drop(spec)
        longest = max(longest, time.monotonic() - start)
    return seconds


def machine(command: Sequence[str], probe_seconds: float = 120.0) -> dict[str, Any]:
    """What the figures were taken on; the device by asking JAX in a child.

    Args:
        command: words of the command line, kept so that others can repeat it.
        probe_seconds: how long JAX may take to answer.
    """
    child = Child(Spec("probe", "probe"))
    try:
        child.wait_until_ready(probe_seconds)
        found = child.told["facts"]
    except ChildError as error:
        found = {"platform": "none", "device": f"JAX does not start: {error}", "devices": 0}
    finally:
        child.close()
    return {
        "command": " ".join(command),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": _cpu_model(),
        "threads": threads(),
        "python": platform.python_version(),
        **versions(("jax", "jaxlib", "flax", "torch")),
        **found,
    }


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def benchmark(
    out: Path,
    groups_for: Callable[[str], list[Group]],
    minutes: float,
    command: Sequence[str],
    say: Say,
) -> list[Row]:
    """Measure into a file, written anew after each group.

    Args:
        out: JSON file, see `rows.write_document`.
        groups_for: platform ("cpu", "gpu", ...) -> groups.
        minutes: see `measure`.
        command: see `machine`.
        say: told what happens.
    """
    start = time.monotonic()
    about = machine(command)
    say(f"{about['device']}, {about['threads']} threads, at most {minutes:g} minutes")
    write_document(out, about, [])
    groups = groups_for(about["platform"])
    left = minutes - (time.monotonic() - start) / 60
    rows = measure(groups, left, say, lambda rows: write_document(out, about, rows))
    # Imports JAX, which wakes no device.
    from gtn_jax.benchmark.roofline import roofline_rows

    rows += roofline_rows(rows) + frozen_share_rows(rows)
    write_document(out, about, rows)
    missing = sum(row.value is None for row in rows)
    seconds = time.monotonic() - start
    say(f"{out}: {len(rows)} rows, {missing} of them not measured, {seconds:.0f} s")
    return rows

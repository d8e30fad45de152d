"""Implementation of `gtn benchmark`: measure into a file, or print files as tables."""

import contextlib
import datetime
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gtn_jax.benchmark import plan
from gtn_jax.benchmark.child import Child, ChildError, threads
from gtn_jax.benchmark.rows import page, read_document, write_document
from gtn_jax.benchmark.run import measure
from gtn_jax.benchmark.spec import Spec
from gtn_jax.runs.provenance import versions


def benchmark(
    out: Path, only: Sequence[str], minutes: float, words: Sequence[str], say: Callable[[str], None]
) -> None:
    """Measure groups (`only`; empty: all) into a JSON file, which is complete after each of them.

    `words` is the command line, for the file; `say` receives progress lines.

    Raises:
        ArgumentError: a name that is no group's; then nothing was measured or written.
    """
    plan.choose([*plan.groups("cpu"), *plan.groups("gpu")], only)
    start = time.monotonic()
    about = machine(words)
    groups = plan.choose(plan.groups(about["platform"]), only)
    say(f"{about['device']}, {about['threads']} threads, at most {minutes:g} minutes")
    write_document(out, about, [])
    left = minutes - (time.monotonic() - start) / 60
    rows = measure(groups, left, say, lambda rows: write_document(out, about, rows))
    missing = sum(row.value is None for row in rows)
    seconds = time.monotonic() - start
    say(f"{out}: {len(rows)} rows, {missing} of them not measured, {seconds:.0f} s")


def machine(words: Sequence[str]) -> dict[str, Any]:
    """Hardware, versions and command line; a child asks JAX for the devices."""
    with contextlib.closing(Child(Spec("devices"))) as child:
        try:
            child.wait_until_ready(timeout=120.0)
            devices = child.facts
        except ChildError as error:
            devices = {"platform": "none", "device": f"JAX does not start: {error}", "devices": 0}
    return {
        "command": " ".join(words),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": _cpu_model(),
        "threads": threads(),
        "python": platform.python_version(),
        **versions(("jax", "jaxlib", "flax", "torch")),
        **devices,
    }


def _cpu_model() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text().splitlines() if information.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return (*models, platform.processor() or platform.machine())[0]


def tables(paths: Sequence[Path]) -> str:
    """Markdown of files that `benchmark` wrote, also older ones; ValueError for other files."""
    return page([read_document(path) for path in paths])

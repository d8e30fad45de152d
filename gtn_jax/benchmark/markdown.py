"""Files of the benchmark -> the tables of docs/benchmarks.md."""

from collections.abc import Sequence
from typing import Any

from gtn_jax.benchmark.rows import Row

_SECTIONS = {
    "Ratios": lambda row: row.unit == "ratio",
    "Rates": lambda row: row.unit.endswith("/s"),
    "Start": lambda row: row.unit == "seconds",
    "Memory and cost": lambda row: True,
}
"""Heading -> which of the rows that are under no earlier heading."""


def page(documents: Sequence[tuple[dict[str, Any], list[Row]]]) -> str:
    """All tables of all machines. Any row has a place, also of workloads that no longer exist.

    Args:
        documents: machines and rows, as `rows.read_document` returns them.
    """
    missing = {"cpu", "gpu"}.difference(machine["platform"] for machine, _ in documents)
    sections = [_section(*document) for document in documents]
    sections += [f"## {platform.upper()}\n\nnot measured\n" for platform in sorted(missing)]
    return "\n".join(sections)


def _section(machine: dict[str, Any], rows: Sequence[Row]) -> str:
    device = machine["cpu"] if machine["device"] == "cpu" else machine["device"]
    versions = ", ".join(f"{name} {machine[name]}" for name in ("jax", "flax", "torch", "python"))
    lines = [
        f"## {machine['platform'].upper()}: {device}\n",
        f"{machine['cpu']}, {machine['threads']} threads; {versions}; {machine['date']}\n",
        f"`{machine['command']}`\n",
    ]
    left = list(rows)
    for heading, belongs in _SECTIONS.items():
        under_it = [row for row in left if belongs(row)]
        left = [row for row in left if not belongs(row)]
        if under_it:
            lines += [f"### {heading}\n", table(under_it)]
    return "\n".join(lines)


def table(rows: Sequence[Row]) -> str:
    """A Markdown table."""
    head = "| what | whose | value | quartiles | repeats |\n|---|---|---:|---:|---:|\n"
    return head + "".join(f"{_line(row)}\n" for row in rows)


def _line(row: Row) -> str:
    if row.value is None:
        cells = [f"not measured: {row.extra.get('reason')}", "", ""]
    else:
        unit = "" if row.unit == "ratio" else f" {row.unit}"
        best = f" ({row.extra['best']})" if "best" in row.extra else ""
        spread = " to ".join(_number(value) for value in row.extra.get("spread", ()))
        cells = [f"{_number(row.value)}{unit}{best}", spread, str(row.repeats)]
    return "| " + " | ".join([row.name, row.framework, *cells]).replace("\n", " ") + " |"


def _number(value: float) -> str:
    """Three significant digits; from 100 on whole, with separated thousands."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")

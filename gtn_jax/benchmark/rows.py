"""`Row`, one figure of a benchmark file; that file, and its tables in docs/benchmarks.md.

A figure that could not be measured is a row with value None and a reason.
"""

import dataclasses
import json
import os
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gtn_jax.benchmark.child import Child
from gtn_jax.benchmark.spec import INPUT, LIMITS, Spec

FIELDS = ("name", "framework", "value", "unit", "repeats")


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure; name and framework are unique in a file.

    `framework` is "ours / theirs" for a ratio; `value` the median of the repeats, None if not
    measured; `extra` has further keys, e.g. spread (lower and upper quartile), seconds (of each
    repeat), reason (of a None).
    """

    name: str
    framework: str
    value: float | None
    unit: str
    repeats: int
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """One flat object."""
        return {field: getattr(self, field) for field in FIELDS} | self.extra


def row_from_json(fields: dict[str, Any]) -> Row:
    """The inverse of `Row.as_json`; ValueError for a missing field, or null without a reason."""
    needed = FIELDS if fields.get("value") is not None else (*FIELDS, "reason")
    missing = [field for field in needed if field not in fields]
    if missing:
        raise ValueError(f"benchmark row without {', '.join(missing)}: {fields}")
    extra = {name: value for name, value in fields.items() if name not in FIELDS}
    return Row(**{field: fields[field] for field in FIELDS}, extra=extra)


def not_measured(name: str, framework: str, unit: str, reason: str) -> Row:
    """A row without a value."""
    return Row(name, framework, None, unit, 0, {"reason": reason})


def median_row(name: str, framework: str, values: Sequence[float], unit: str, **extra: Any) -> Row:
    """The median of `values`, at least one, with their quartiles as `spread`."""
    low = middle = high = values[0]
    if len(values) > 1:
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Row(name, framework, middle, unit, len(values), {"spread": [low, high], **extra})


def paired_ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """ours / theirs in each round; disturbances of a whole round cancel."""
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def rate_row(child: Child, rates: Sequence[float]) -> Row:
    """The median rate of a workload, in its spec's unit."""
    spec, facts = child.spec, child.facts
    if not rates:
        return not_measured(spec.name, spec.label, spec.unit, "no repeat ended in time")
    network = ("backbone", "batch_size", "image_size", "classes", "dtype")
    fields = ("dtype", "size") if spec.kind in LIMITS else network
    extra = {field: getattr(spec, field) for field in fields}
    extra |= {name: facts[name] for name in ("images_are",) if name in facts}
    seconds = [child.amount / rate for rate in rates]
    return median_row(spec.name, spec.label, rates, spec.unit, seconds=seconds, **extra)


def child_rows(child: Child) -> list[Row]:
    """Start, FLOPs and memory of a network that is ready to be timed."""
    spec, facts = child.spec, child.facts
    if spec.kind in LIMITS + INPUT:
        return []
    values = {"first_step": (child.first_step_seconds, "seconds")}
    if "compile_seconds" in facts:
        values["compile"] = (facts["compile_seconds"], "seconds")
        values["trace"] = (facts["trace_seconds"] + facts["lower_seconds"], "seconds")
    if "flops" in facts:
        values["flops"] = (facts["flops"] / child.amount, "FLOP/image")
    values |= {name: (value, "bytes") for name, value in child.memory.items()}
    return [Row(f"{spec.name}/{part}", spec.label, *pair, 1) for part, pair in values.items()]


def comparison_rows(specs: Sequence[Spec], rates: Mapping[Spec, Sequence[float]]) -> list[Row]:
    """Ratios, by round, of the first spec to each other one, and to the best of PyTorch.

    A spec without `rates` gives a row without a value.
    """
    ours, *peers = specs
    rows = []
    for peer in peers:
        kind = "" if peer.kind == ours.kind else f" {peer.kind}"
        rows.append(_ratio(ours, peer, peer.label + kind, rates))
    torch = [peer for peer in peers if peer.framework == "torch"]
    if len(torch) > 1:
        best = max(torch, key=lambda peer: statistics.median(rates.get(peer) or [0.0]))
        row = _ratio(ours, best, "torch_best", rates)
        row.extra["best"] = best.variant
        rows.append(row)
    return rows


def _ratio(ours: Spec, peer: Spec, theirs: str, rates: Mapping[Spec, Sequence[float]]) -> Row:
    name, framework = f"{ours.name}/ratio", f"{ours.label} / {theirs}"
    for spec in (ours, peer):
        if not rates.get(spec):
            return not_measured(name, framework, "ratio", f"no figure of {spec.label}")
    ratios = paired_ratios(rates[ours], rates[peer])
    return median_row(name, framework, ratios, "ratio", ratios=ratios)


def write_document(path: Path, machine: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write {"machine": ..., "rows": [...]} atomically."""
    document = {"machine": machine, "rows": [row.as_json() for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(json.dumps(document, indent=1) + "\n")
    os.replace(unfinished, path)


def read_document(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """Machine and rows of a benchmark file; ValueError for other files."""
    try:
        document = json.loads(path.read_text())
        return document["machine"], [row_from_json(row) for row in document["rows"]]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a file of `gtn benchmark` ({error!r})") from error


_SECTIONS = {
    "Ratios": lambda row: row.unit == "ratio",
    "Rates": lambda row: row.unit.endswith("/s"),
    "Start": lambda row: row.unit == "seconds",
    "Memory and cost": lambda row: True,
}
"""Heading -> predicate; a row is under the first heading that matches."""


def page(documents: Sequence[tuple[dict[str, Any], list[Row]]]) -> str:
    """Markdown tables of files from `read_document`; unknown workloads are shown, too."""
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
    """Three significant digits; an integer with thousands separators from 100."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:#.3g}".rstrip(".")

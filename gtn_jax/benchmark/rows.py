"""`Row`, one figure of a benchmark file: from what was measured, and into the file.

What could not be measured is a row too: its value is None and it has a reason.
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

    Attributes:
        name: of the workload, e.g. "train_step/resnet50/224px/batch16/float32".
        framework: whose; in a ratio "ours / theirs".
        value: median of the repeats, in `unit`; None where it could not be measured.
        unit: e.g. "images/s", "ratio".
        repeats: number of measurements.
        extra: further keys, e.g. spread (lower and upper quartile), seconds (of each repeat),
            reason (of a None).
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


def row_from_json(found: dict[str, Any]) -> Row:
    """The inverse of `Row.as_json`.

    Raises:
        ValueError: a field is missing, or a null has no reason.
    """
    needed = FIELDS if found.get("value") is not None else (*FIELDS, "reason")
    missing = [field for field in needed if field not in found]
    if missing:
        raise ValueError(f"benchmark row without {', '.join(missing)}: {found}")
    extra = {name: value for name, value in found.items() if name not in FIELDS}
    return Row(**{field: found[field] for field in FIELDS}, extra=extra)


def not_measured(name: str, framework: str, unit: str, reason: str) -> Row:
    """A row for what could not be measured."""
    return Row(name, framework, None, unit, 0, {"reason": reason})


def median_row(name: str, framework: str, values: Sequence[float], unit: str, **extra: Any) -> Row:
    """A row of the median of `values`, at least one, with their quartiles as `spread`."""
    low = middle = high = values[0]
    if len(values) > 1:
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Row(name, framework, middle, unit, len(values), {"spread": [low, high], **extra})


def paired_ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """ours / theirs of each round: what disturbs a whole round disturbs both, and cancels."""
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
    """The first spec over each other one, and over PyTorch's best; round by round.

    Args:
        specs: of one group.
        rates: of each round; a spec without any gives a row without a value.
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
    """Write {"machine": ..., "rows": [...]}; a reader sees the old file or the new one, whole."""
    document = {"machine": machine, "rows": [row.as_json() for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(json.dumps(document, indent=1) + "\n")
    os.replace(unfinished, path)


def read_document(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """Machine and rows of a file that `write_document` wrote.

    Raises:
        ValueError: not such a file.
    """
    try:
        document = json.loads(path.read_text())
        return document["machine"], [row_from_json(row) for row in document["rows"]]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a file of `gtn benchmark` ({error!r})") from error

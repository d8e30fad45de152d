"""What a child told and how long it took -> rows."""

from collections.abc import Mapping, Sequence
from typing import Any

from gtn_jax.benchmark.child import Child
from gtn_jax.benchmark.rows import (
    Row,
    median_row,
    not_measured,
    paired_ratios,
    quartiles,
    row_from_json,
)
from gtn_jax.benchmark.spec import Spec

_STARTS = ("trace_seconds", "lower_seconds", "compile_seconds", "first_seconds")
_BUFFERS = ("argument_bytes", "output_bytes", "temp_bytes", "alias_bytes")


def rate_row(child: Child, seconds: Sequence[float]) -> tuple[Row, list[float]]:
    """The rate of a workload, and the rate of each repeat.

    Args:
        child: whose `told` says how much an iteration does.
        seconds: of one iteration, one a repeat.
    """
    spec, amount, unit = child.spec, child.told["amount"], child.spec.unit
    rates = [amount / taken for taken in seconds]
    if not rates:
        return not_measured(spec.name, spec.label, unit, "no repeat ended in time"), []
    extra = {"seconds": list(seconds), **spec.described}
    if "images_are" in child.told["facts"]:
        extra["images_are"] = child.told["facts"]["images_are"]
    return median_row(spec.name, spec.label, rates, unit, **extra), rates


def child_rows(child: Child) -> list[Row]:
    """What is known of a child before it is timed: start, costs, memory, or rows of its own."""
    spec, told = child.spec, child.told
    if told["rows"]:
        return [row_from_json(row) for row in told["rows"]]
    if not spec.is_network:
        return []
    facts = told["facts"]

    def row(part: str, value: float, unit: str, **extra: Any) -> Row:
        return Row(f"{spec.name}/{part}", spec.label, value, unit, 1, extra)

    # An optimised program is one device's, and counts the body of a loop once.
    images = told["amount"] / spec.scan
    own_images = images / (spec.devices or 1)
    costs = {
        "flops": ("FLOP/image", own_images),
        "bytes": ("bytes/image", own_images),
        "flops_before_optimisation": ("FLOP/image", images),
        "bytes_before_optimisation": ("bytes/image", images),
    }
    starts = {name: facts[name] for name in _STARTS if name in facts}
    rows = [row("first_step", child.first_step_seconds, "seconds", **starts)]
    if "compile_seconds" in facts:
        rows.append(row("compile", facts["compile_seconds"], "seconds"))
        traced = facts["trace_seconds"] + facts["lower_seconds"]
        rows.append(row("trace", traced, "seconds"))
    rows += [
        row(name, facts[name] / images, unit)
        for name, (unit, images) in costs.items()
        if name in facts
    ]
    buffers = {name: facts[name] for name in _BUFFERS if name in facts}
    rows += [row(name, value, "bytes", **buffers) for name, value in child.memory().items()]
    if "collectives" in facts and spec.devices:
        total = sum(found["bytes"] for found in facts["collectives"].values())
        extra = {"kinds": facts["collectives"], **spec.described}
        rows.append(row("collectives", total, "bytes/step", **extra))
    return rows


def frozen_share_rows(rows: Sequence[Row]) -> list[Row]:
    """FLOPs of each frozen step over those of the full step of the same network and size."""
    by_key = {row.key: row for row in rows}
    found = []
    for row in rows:
        if not row.name.startswith("frozen_step/") or not row.name.endswith("/flops"):
            continue
        full = by_key.get((row.name.replace("frozen_step", "train_step", 1), row.framework))
        if row.value and full and full.value:
            word = f"{row.framework} / {row.framework} train_step"
            found.append(Row(f"{row.name}/ratio", word, row.value / full.value, "ratio", 1))
    return found


def comparison_rows(specs: Sequence[Spec], rates: Mapping[Spec, Sequence[float]]) -> list[Row]:
    """The first spec over each other one, and over PyTorch's best; by paired rounds.

    A spec without rates gives a row without value.
    """
    ours, *peers = specs
    rows = [_ratio(ours, peer, _word(peer, ours), rates) for peer in peers]
    torch = [peer for peer in peers if peer.framework == "torch"]
    if len(torch) > 1:
        medians = {peer: quartiles(rates[peer])[1] for peer in torch if rates.get(peer)}
        best = max(medians, key=lambda peer: medians[peer]) if medians else torch[0]
        row = _ratio(ours, best, "torch_best", rates)
        row.extra["best"] = best.variant
        rows.append(row)
    return rows


def _word(peer: Spec, ours: Spec) -> str:
    return peer.label if peer.kind == ours.kind else f"{peer.label} {peer.kind}"


def _ratio(ours: Spec, peer: Spec, word: str, rates: Mapping[Spec, Sequence[float]]) -> Row:
    name, framework = f"{ours.name}/ratio", f"{ours.label} / {word}"
    for spec in (ours, peer):
        if not rates.get(spec):
            return not_measured(name, framework, "ratio", f"no figure of {spec.label}")
    found = paired_ratios(rates[ours], rates[peer])
    return median_row(name, framework, found, "ratio", ratios=found)

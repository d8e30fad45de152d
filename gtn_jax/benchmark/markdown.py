"""Files of the benchmark -> the tables of docs/benchmarks.md; no figure there is typed by hand."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gtn_jax.benchmark.growth import (
    AXES,
    Curve,
    curves,
    exponent,
    is_worse_than_linear,
)
from gtn_jax.benchmark.rows import Row

Document = tuple[dict[str, Any], list[Row]]
"""The machine and its rows, as `rows.read_document` gives them."""

_BAR = 20


def page(documents: Sequence[Document], pictures: Sequence[Path] = ()) -> str:
    """All tables of all machines, and pictures after them; what no file has is "not measured"."""
    kinds = {"cpu": "CPU", "gpu": "GPU"}
    parts = []
    for platform, title in kinds.items():
        found = [document for document in documents if document[0].get("platform") == platform]
        parts += [machine_section(title, *document) for document in found]
        if not found:
            parts.append(f"## {title}\n\nnot measured\n")
    others = [document for document in documents if document[0].get("platform") not in kinds]
    parts += [machine_section(document[0].get("platform", "?"), *document) for document in others]
    if pictures:
        # By name: the page is to lie where they do.
        links = [f"![{picture.stem.replace('_', ' ')}]({picture.name})" for picture in pictures]
        parts.append("## Growth in pictures\n\n" + "\n".join(links) + "\n")
    return "\n".join(parts)


def machine_section(title: str, machine: dict[str, Any], rows: Sequence[Row]) -> str:
    """One machine: what it is, and its tables, ratios first."""
    about = ", ".join(f"{name} {machine[name]}" for name in ("jax", "flax", "torch", "python"))
    lines = [
        f"## {title}: {machine['cpu'] if machine['device'] == 'cpu' else machine['device']}",
        "",
        f"{machine['cpu']}, {machine['threads']} threads; {about}; {machine['date']}",
        "",
        f"`{machine['command']}`",
        "",
    ]
    kept = list(rows)
    for heading, wanted in _SECTIONS.items():
        chosen = [row for row in kept if wanted(row)]
        kept = [row for row in kept if not wanted(row)]
        if chosen:
            lines += [f"### {heading}", "", table(chosen)]
    lines += [growth_table(rows, axis) for axis in AXES if curves(rows, axis)]
    return "\n".join(lines)


def _is_convolution(row: Row) -> bool:
    return row.name.startswith("convolutions/") and row.unit != "ratio"


_SECTIONS = {
    "Ratios": lambda row: row.unit == "ratio",
    "Convolutions": _is_convolution,
    "Rates": lambda row: row.unit.endswith("/s"),
    "Start": lambda row: row.unit == "seconds",
    "Memory and cost": lambda row: True,
}
"""Heading -> which of the rows that no earlier heading took."""


def table(rows: Sequence[Row]) -> str:
    """A Markdown table of rows as they are, ratios first."""
    ratios = [row for row in rows if row.unit == "ratio"]
    others = [row for row in rows if row.unit != "ratio"]
    lines = [
        "| what | whose | value | quartiles | repeats |",
        "|---|---|---:|---:|---:|",
        *(_line(row) for row in ratios + others),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    if row.value is None:
        cells = [f"not measured: {row.extra.get('reason')}", "", ""]
    else:
        unit = "" if row.unit == "ratio" else f" {row.unit}"
        spread = " to ".join(_number(value) for value in row.extra.get("spread", ()))
        cells = [f"{_number(row.value)}{unit}{_remark(row)}", spread, str(row.repeats)]
    return "| " + " | ".join([row.name, row.framework, *cells]).replace("\n", " ") + " |"


def _remark(row: Row) -> str:
    if "of_matmul" in row.extra:
        return f" ({_number(row.extra['of_matmul'])} of a product)"
    return f" ({row.extra['best']})" if "best" in row.extra else ""


def _number(value: float) -> str:
    """Three significant digits; thousands apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}".rstrip(".")


def growth_table(rows: Sequence[Row], axis: str) -> str:
    """Cost against one axis as a table with bars, and exponents of the power law through it.

    Args:
        rows: of a file of `gtn benchmark --growth`.
        axis: in `growth.AXES`; rates become milliseconds an image.
    """
    lines = [f"### Growth with {axis}", "", f"Linear would be the exponent {AXES[axis].linear:g}."]
    for name, curve in curves(rows, axis).items():
        highest = max(cost for _, cost in curve) or 1.0
        lines += ["", f"| {axis} | {name} | | exponent |", "|---:|---:|---|---:|"]
        before: Curve = []
        for place, cost in curve:
            bar = "█" * round(_BAR * cost / highest)
            step = _exponent(axis, [*before, (place, cost)])
            lines.append(f"| {place:g} | {_number(cost)} | {bar} | {step} |")
            before = [(place, cost)]
        lines.append(f"| all | | | {_exponent(axis, curve)} |")
    return "\n".join(lines) + "\n"


def _exponent(axis: str, curve: Curve) -> str:
    """Of these points, with a word where they grow worse than linearly; "" if there is none."""
    found = exponent(curve)
    if found is None:
        return ""
    return f"{found:.2f}" + (" **worse than linear**" if is_worse_than_linear(axis, found) else "")

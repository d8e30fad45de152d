"""Rows of a benchmark file, and the statistics that they hold.

A row says what was measured, of whom, in which unit and by how many repeats. What could not be
measured is a row too: its value is null and it has a reason. Nothing is measured here.
"""

import dataclasses
import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FIELDS = ("name", "framework", "value", "unit", "repeats")


@dataclasses.dataclass(frozen=True)
class Row:
    """One figure.

    Attributes:
        name: of the workload, e.g. "train_step/resnet50/224px/batch16/float32".
        framework: whose; in a ratio "ours / theirs".
        value: median of the repeats, in `unit`; None where it could not be measured.
        unit: e.g. "images/s", "ratio".
        repeats: how many measurements the median is of.
        extra: further keys, e.g. spread (lower and upper quartile), seconds (each repeat), reason
            (of a None).
    """

    name: str
    framework: str
    value: float | None
    unit: str
    repeats: int
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """Name and framework, which no two rows of a file share."""
        return self.name, self.framework

    def as_json(self) -> dict[str, Any]:
        """One flat object."""
        return {field: getattr(self, field) for field in FIELDS} | self.extra


def row_from_json(found: dict[str, Any]) -> Row:
    """The inverse of `Row.as_json`.

    Raises:
        ValueError: a field is missing, or a null without a reason.
    """
    missing = [field for field in FIELDS if field not in found]
    if missing:
        raise ValueError(f"benchmark row without {', '.join(missing)}: {found}")
    if found["value"] is None and not found.get("reason"):
        raise ValueError(f"benchmark row without value and without reason: {found}")
    extra = {name: value for name, value in found.items() if name not in FIELDS}
    return Row(**{field: found[field] for field in FIELDS}, extra=extra)


def not_measured(name: str, framework: str, unit: str, reason: str) -> Row:
    """A row for what could not be measured."""
    return Row(name, framework, None, unit, 0, {"reason": reason})


def median_row(name: str, framework: str, values: Sequence[float], unit: str, **extra: Any) -> Row:
    """The median of `values`, its spread beside it.

    Args:
        name: see `Row`.
        framework: see `Row`.
        values: one a repeat, at least one.
        unit: of the values.
        **extra: further keys of the row.
    """
    low, middle, high = quartiles(values)
    return Row(name, framework, middle, unit, len(values), {"spread": [low, high], **extra})


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile, interpolated between the values themselves."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def paired_ratios(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """ours / theirs, round by round: what disturbs a whole round disturbs both and cancels.

    Args:
        ours: a rate for each round.
        theirs: of the same rounds, in the same unit.
    """
    return [one / other for one, other in zip(ours, theirs, strict=True)]


def write_document(path: Path, machine: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write {"machine": ..., "rows": [...]}; a reader sees the old file or the new one, whole."""
    document = {"machine": machine, "rows": [row.as_json() for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(path.name + ".part")
    unfinished.write_text(json.dumps(document, indent=1) + "\n")
    os.replace(unfinished, path)


def read_document(path: Path) -> tuple[dict[str, Any], list[Row]]:
    """What `write_document` wrote: the machine and the rows.

    Raises:
        ValueError: not such a file.
    """
    try:
        document = json.loads(path.read_text())
        return document["machine"], [row_from_json(row) for row in document["rows"]]
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: not a file of `gtn benchmark --out` ({error!r})") from error

"""How time, memory and communication grow: one axis after the other, all else equal.

Devices are forced ones of the CPU: they share its cores, so their times say nothing, and the
collectives in the compiled program (collectives.py) say everything.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from gtn_jax.benchmark.rows import Row
from gtn_jax.benchmark.spec import Group, Spec

DEPTHS = (18, 34, 50, 101, 152)
BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
SIZES = (32, 64, 96, 128, 160, 224, 320, 448)
CLASSES = (2, 10, 100, 1_000, 10_000)
DEVICES = (1, 2, 4, 8)
IMAGES = (1_000, 10_000, 100_000, 1_000_000)

AXES = {
    "batch": "batch_size",
    "image_size": "image_size",
    "depth": "backbone",
    "classes": "classes",
    "devices": "devices",
    "dataset": "images",
}
"""Axis -> the key of a row that holds its value."""


def growth_plan(platform: str) -> list[Group]:
    """A group for each point, cheap axes first; what the time does not reach is reported so."""
    gpu = platform == "gpu"
    step = Spec("train_step", dtype="bfloat16" if gpu else "float32")
    base = replace(step, batch_size=64) if gpu else replace(step, batch_size=32, image_size=64)
    forced = replace(step, backbone="resnet18", batch_size=16, image_size=32, dtype="float32")
    data = Spec("dataset_start", batch_size=64, image_size=32)
    points = {
        "devices": [replace(forced, devices=n, env=_forced_devices(n)) for n in DEVICES],
        "dataset": [replace(data, images=n) for n in IMAGES],
        "batch": [replace(base, batch_size=n) for n in BATCHES],
        "classes": [replace(base, classes=n) for n in CLASSES],
        "depth": [replace(base, backbone=f"resnet{n}") for n in DEPTHS],
        "image_size": [replace(base, batch_size=base.batch_size // 4, image_size=n) for n in SIZES],
    }
    return [
        Group(f"growth_{axis}", (spec,), rounds=(2, 5), compares=False)
        for axis, specs in points.items()
        for spec in specs
    ]


def _forced_devices(count: int) -> tuple[tuple[str, str], ...]:
    return (("JAX_PLATFORMS", "cpu"), ("JAX_NUM_CPU_DEVICES", str(count)))


def points(rows: Sequence[Row], axis: str) -> list[tuple[float, Row]]:
    """The measured rows of one axis with their place on it, rising.

    Args:
        rows: of a file of `gtn benchmark --growth`.
        axis: in `AXES`.
    """
    found = [
        (_place(row, axis), row)
        for row in rows
        if f"growth_{axis}" in row.extra.get("groups", ())
        and row.value is not None
        and AXES[axis] in row.extra
    ]
    return sorted(found, key=lambda pair: pair[0])


def _place(row: Row, axis: str) -> float:
    value = row.extra[AXES[axis]]
    return float(value.removeprefix("resnet")) if axis == "depth" else float(value)


def exponent(places: Sequence[float], costs: Sequence[float]) -> float:
    """e of the power law cost = c * place**e, by least squares in logarithms.

    Args:
        places: at least two different ones, above 0.
        costs: at each place, above 0.
    """
    x, y = [math.log(place) for place in places], [math.log(cost) for cost in costs]
    middle, height = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - middle) * (b - height) for a, b in zip(x, y, strict=True))
    return slope / sum((a - middle) ** 2 for a in x)

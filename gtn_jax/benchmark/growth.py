"""How time, memory and communication grow: one axis after the other, all else equal.

Devices are forced ones of the CPU: they share its cores, so their times say nothing, and the
collectives in the compiled program (collectives.py) say everything.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from gtn_jax.benchmark.rows import Row
from gtn_jax.benchmark.spec import Group, Spec
from gtn_jax.benchmark.worker import SETTLING_SECONDS

DEPTHS = (18, 34, 50, 101, 152)
BATCHES = (1, 2, 8, 32, 128, 512)
SIZES = (32, 64, 128, 224, 320, 448)
CLASSES = (2, 100, 1_000, 10_000)
DEVICES = (1, 2, 4, 8)
IMAGES = (1_000, 10_000, 100_000, 1_000_000)
MINUTES = 25.0
"""Of a whole run; on two cores the dearest points are what it may have to leave out."""


class Axis(NamedTuple):
    """What changes, and what would be linear.

    Attributes:
        key: of a row that holds the place on the axis.
        linear: exponent of the cost where all work grows in proportion to what there is: to a
            batch's images, an image's pixels, layers, classes, a data set's images; not at all
            with the devices.
        label: in words.
    """

    key: str
    linear: float
    label: str


AXES = {
    "batch": Axis("batch_size", 0, "images a step"),
    "image_size": Axis("image_size", 2, "side of an image, pixels"),
    "depth": Axis("backbone", 1, "layers"),
    "classes": Axis("classes", 1, "classes"),
    "devices": Axis("devices", 0, "devices"),
    "dataset": Axis("images", 1, "images of the data set"),
}

_COSTS: dict[str, tuple[str, Any]] = {
    "images/s": ("ms an image", lambda rate: 1000 / rate),
    "seconds": ("seconds", float),
    "bytes": ("bytes", float),
    "bytes/step": ("bytes a step", float),
}
"""Unit of a row -> name of the cost, and from the row's value to it."""
_TOLERANCE = 0.1
"""Of an exponent: what repeats of the same point differ by."""
_ROUNDS, _REPEAT_SECONDS = (2, 3), 0.5
_FIRST_SECONDS = 60.0
"""What an axis's first point is expected to take, its compilation included."""


def growth_plan(platform: str) -> list[Group]:
    """A group for each point, cheap ones first; what the time does not reach is reported so."""
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
    groups = [
        Group(f"growth_{axis}", (s,), 1.0, _ROUNDS, _REPEAT_SECONDS, compares=False, axis=axis)
        for axis, specs in points.items()
        for s in specs
    ]
    return sorted(groups, key=lambda group: work(group.specs[0]))


def _forced_devices(count: int) -> tuple[tuple[str, str], ...]:
    return (("JAX_PLATFORMS", "cpu"), ("JAX_NUM_CPU_DEVICES", str(count)))


def work(spec: Spec) -> float:
    """How much a point takes relative to others: layers x pixels of a step, decoded pixels."""
    pixels = spec.image_size**2
    if spec.kind == "dataset_start":
        return spec.images * pixels
    return spec.batch_size * pixels * _layers(spec)


def _layers(spec: Spec) -> float:
    return float(spec.backbone.removeprefix("resnet"))


class Point(NamedTuple):
    """What one point took.

    Attributes:
        spec: of it.
        seconds: all in all.
        iteration_seconds: of one step; 0 where all of the point is what grows.
    """

    spec: Spec
    seconds: float
    iteration_seconds: float = 0.0


def expected_seconds(spec: Spec, measured: Sequence[Point]) -> float:
    """What a point will take, from the one of its axis that was measured last.

    Steps take longer in proportion to `work`; the start of the process and compilation to layers.
    """
    if not measured:
        return _FIRST_SECONDS
    last = measured[-1]
    ratio = max(1.0, work(spec) / work(last.spec))
    if not last.iteration_seconds:
        return last.seconds * ratio
    before, after = (_steps_seconds(last.iteration_seconds * grown) for grown in (1.0, ratio))
    deeper = max(1.0, _layers(spec) / _layers(last.spec))
    return max(last.seconds - before, 0.0) * deeper + after


def _steps_seconds(iteration: float) -> float:
    """Of the first one, of settling and of as few repeats as a point has."""
    settling = iteration + min(10 * iteration, SETTLING_SECONDS)
    return iteration + settling + _ROUNDS[0] * max(iteration, _REPEAT_SECONDS)


def reason_to_skip(spec: Spec, measured: Sequence[Point], seconds_left: float) -> str | None:
    """Why a point is not begun: it would not end in time. None where it will; see above."""
    expected = expected_seconds(spec, measured)
    if expected <= seconds_left:
        return None
    return f"about {expected:.0f} s expected, {max(seconds_left, 0):.0f} s were left"


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
        and AXES[axis].key in row.extra
    ]
    return sorted(found, key=lambda pair: pair[0])


def _place(row: Row, axis: str) -> float:
    value = row.extra[AXES[axis].key]
    return float(value.removeprefix("resnet")) if axis == "depth" else float(value)


Curve = list[tuple[float, float]]
"""(place, cost), rising in place; both above 0 but for collectives of one device."""


def curves(rows: Sequence[Row], axis: str) -> dict[str, Curve]:
    """Name of a cost -> how it grows; see `points`."""
    found: dict[str, Curve] = {}
    for place, row in points(rows, axis):
        if row.unit not in _COSTS or (axis == "devices" and row.unit == "images/s"):
            continue
        name, cost = _COSTS[row.unit]
        found.setdefault(name, []).append((place, cost(row.value)))
    return found


def exponent(curve: Curve) -> float | None:
    """e of the power law cost = c * place**e, by least squares in logarithms.

    None where there are no two different places, or a cost is 0.
    """
    if len({place for place, _ in curve}) < 2 or min(cost for _, cost in curve) <= 0:
        return None
    x, y = ([math.log(value) for value in values] for values in zip(*curve, strict=True))
    middle, height = sum(x) / len(x), sum(y) / len(y)
    slope = sum((a - middle) * (b - height) for a, b in zip(x, y, strict=True))
    return slope / sum((a - middle) ** 2 for a in x)


def is_worse_than_linear(axis: str, found: float | None) -> bool:
    """Whether an exponent on this axis wants an explanation."""
    return found is not None and found > AXES[axis].linear + _TOLERANCE

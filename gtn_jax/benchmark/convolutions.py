"""Every convolution of a ResNet, all three passes, beside a matrix product of the same FLOPs.

The product has the convolution's dimensions (rows x inner x columns) and both factors stored as
a product likes them, so it is what this machine could do at that size.
"""

import collections
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gtn_jax.benchmark.rows import Row, median_row, quartiles
from gtn_jax.benchmark.spec import Spec
from gtn_jax.benchmark.workload import Workload
from gtn_jax.models.backbones import BACKBONES, ResNetShape
from gtn_jax.models.layers import Conv

PASSES = ("forward", "input_gradient", "weight_gradient")
_REPEATS = 3


class ConvShape(NamedTuple):
    """One convolution.

    Attributes:
        side: of the input's square map, in pixels.
        channels: of the input.
        features: of the output.
        size: side of the kernel.
        stride: step in pixels.
    """

    side: int
    channels: int
    features: int
    size: int
    stride: int

    @property
    def out_side(self) -> int:
        """Side of the output's square map, in pixels."""
        return -(-self.side // self.stride)

    @property
    def multiply_adds(self) -> int:
        """For one image, the same in each pass."""
        return self.out_side**2 * self.size**2 * self.channels * self.features

    @property
    def is_stem(self) -> bool:
        """Whether it sees the images; then it has no input gradient."""
        return self.channels == 3

    @property
    def label(self) -> str:
        """E.g. "64to256_1x1s1_56px"."""
        kernel = f"{self.size}x{self.size}s{self.stride}"
        return f"{self.channels}to{self.features}_{kernel}_{self.side}px"


def convolution_shapes(shape: ResNetShape, image_size: int) -> collections.Counter[ConvShape]:
    """Each distinct convolution of a trunk, with how often it is there."""
    imagenet = shape.stem == "imagenet"
    size, stride = (7, 2) if imagenet else (3, shape.stem_stride)
    stem = ConvShape(image_size, 3, shape.width, size, stride)
    found = collections.Counter([stem])
    side = -(-stem.out_side // 2) if imagenet else stem.out_side
    channels, bottleneck = shape.width, shape.block == "bottleneck"
    for index, blocks in enumerate(shape.blocks_per_stage):
        width = shape.width * 2**index
        features = width * (4 if bottleneck else 1)
        for number in range(blocks):
            stride = 2 if index and not number else 1
            after = -(-side // stride)
            if bottleneck:
                found[ConvShape(side, channels, width, 1, 1)] += 1
                found[ConvShape(side, width, width, 3, stride)] += 1
                found[ConvShape(after, width, features, 1, 1)] += 1
            else:
                found[ConvShape(side, channels, width, 3, stride)] += 1
                found[ConvShape(after, width, width, 3, 1)] += 1
            if (stride != 1 or channels != features) and shape.shortcut == "projection":
                found[ConvShape(side, channels, features, 1, stride)] += 1
            side, channels = after, features
    return found


def _passes(conv: ConvShape, batch: int, dtype: Any) -> dict[str, tuple[Callable, Callable]]:
    """Pass -> (the convolution, the product), each without arguments and jitted."""
    layer: Any = Conv(conv.features, conv.size, conv.stride, dtype)
    # Noise that repeats: drawing as many numbers as the products take would take minutes.
    noise = np.random.default_rng(0).standard_normal(2**16 + 1, np.float32)

    def draw(*shape: int) -> jax.Array:
        return jnp.asarray(np.resize(noise, shape), dtype)

    x = draw(batch, conv.side, conv.side, conv.channels)
    kernel = draw(conv.size, conv.size, conv.channels, conv.features).astype(jnp.float32)
    slope = draw(batch, conv.out_side, conv.out_side, conv.features)

    def forward(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return layer.apply({"params": {"kernel": kernel}}, x)

    def backward(x: jax.Array, kernel: jax.Array, slope: jax.Array, of: int) -> jax.Array:
        return jax.vjp(forward, x, kernel)[1](slope)[of]

    rows, inner, columns = batch * conv.out_side**2, conv.size**2 * conv.channels, conv.features
    sizes = [(rows, inner, columns), (rows, columns, inner), (inner, rows, columns)]
    fast, slow = jax.jit(forward), jax.jit(backward, static_argnums=3)
    multiply = jax.jit(jnp.matmul)
    convolved = [
        lambda: fast(x, kernel),
        lambda: slow(x, kernel, slope, 0),
        lambda: slow(x, kernel, slope, 1),
    ]
    found = {}
    for name, ours, (m, k, n) in zip(PASSES, convolved, sizes, strict=True):
        one, other = draw(m, k), draw(k, n)
        found[name] = (ours, lambda one=one, other=other: multiply(one, other))
    if conv.is_stem:
        del found["input_gradient"]
    return found


def _rates(calls: tuple[Callable, ...], gflop: float) -> list[list[float]]:
    """GFLOP/s of each call, `_REPEATS` times in turns, each at least some milliseconds long."""
    counts = []
    for call in calls:
        jax.block_until_ready(call())
        start = time.perf_counter()
        jax.block_until_ready(call())
        counts.append(max(1, round(0.03 / (time.perf_counter() - start))))
    rates: list[list[float]] = [[] for _ in calls]
    for _ in range(_REPEATS):
        for call, count, found in zip(calls, counts, rates, strict=True):
            start = time.perf_counter()
            jax.block_until_ready([call() for _ in range(count)][-1])
            found.append(gflop * count / (time.perf_counter() - start))
    return rates


def convolution_table(spec: Spec) -> Workload:
    """Rows for each convolution and pass of a backbone, and for each pass its mean and minimum."""
    shape = BACKBONES[spec.backbone]
    if not isinstance(shape, ResNetShape):
        raise ValueError(f"{spec.backbone} is not a ResNet")
    rows, ratios = [], collections.defaultdict(list)
    for conv, count in convolution_shapes(shape, spec.image_size).items():
        gflop = 2 * spec.batch_size * conv.multiply_adds / 1e9
        for name, calls in _passes(conv, spec.batch_size, jnp.dtype(spec.dtype)).items():
            ours, product = _rates(calls, gflop)
            paired = [one / other for one, other in zip(ours, product, strict=True)]
            ratio = quartiles(paired)[1]
            ratios[name].append((conv, count * gflop, ratio))
            extra = {"matmul": quartiles(product)[1], "of_matmul": ratio, "count": count}
            row = f"{spec.name}/{name}/{conv.label}"
            rows.append(median_row(row, spec.label, ours, "GFLOP/s", **extra))
    for name, found in ratios.items():
        rows += _summary(f"{spec.name}/{name}", spec.label, found)
    return Workload(None, rows=tuple(row.as_json() for row in rows))


def _summary(name: str, label: str, found: list[tuple[ConvShape, float, float]]) -> list[Row]:
    """The FLOP-weighted mean of the ratios, and their minimum; the stem counts in the mean only."""
    framework = f"{label} / equal-FLOP matmul"
    mean = sum(gflop * ratio for _, gflop, ratio in found) / sum(gflop for _, gflop, _ in found)
    rest = [(ratio, conv.label) for conv, _, ratio in found if not conv.is_stem]
    lowest, where = min(rest) if rest else (mean, "stem")
    return [
        Row(f"{name}/mean", framework, mean, "ratio", _REPEATS),
        Row(f"{name}/minimum", framework, lowest, "ratio", _REPEATS, {"where": where}),
    ]

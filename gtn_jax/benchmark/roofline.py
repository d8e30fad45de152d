"""The rate that memory and matrix units of this machine allow a ResNet's training step.

Each kernel costs the longer of its bytes at the copy's rate and its FLOPs at the product's rate,
one after the other. Kernels: three passes of each convolution; statistics of BatchNorm; its
application with ReLU and the residual; the two sweeps of its gradient; the sum of gradients where
paths meet; the optimizer. Elementwise work beside that is taken to be fused. This is what XLA with
cuDNN does; kernels that fuse BatchNorm into convolutions could go beyond.
"""

from collections.abc import Iterator, Sequence

from gtn_jax.benchmark.convolutions import ConvShape, convolution_shapes
from gtn_jax.benchmark.rows import Row
from gtn_jax.models.backbones import BACKBONES, ResNetShape

_OPTIMIZER_BYTES = 28  # float32: weight, momentum, gradient read; weight, momentum written; cast


def kernels(conv: ConvShape, batch: int, width: int) -> Iterator[tuple[float, float]]:
    """(bytes, FLOPs) of what a convolution and its BatchNorm cost in one step.

    Args:
        conv: its shape.
        batch: images.
        width: bytes of an element of a feature map.
    """
    read = batch * conv.side**2 * conv.channels * width
    written = batch * conv.out_side**2 * conv.features * width
    weights = conv.size**2 * conv.channels * conv.features
    flops = 2.0 * batch * conv.multiply_adds
    for _ in range(2 if conv.is_stem else 3):
        yield read + written + weights * width, flops
    # Statistics; application; gradient: sums over both inputs, then both inputs to one output.
    for sweeps in (1, 2, 2, 3):
        yield sweeps * written, 0.0
    yield weights * _OPTIMIZER_BYTES, 0.0


def rate(
    shape: ResNetShape, image_size: int, batch: int, width: int, copy: float, product: float
) -> float:
    """Images/s at best.

    Args:
        shape: of the trunk; gate and heads are left out.
        image_size: side in pixels.
        batch: images a step.
        width: bytes of an element of a feature map: 2 in bfloat16, 4 in float32.
        copy: bytes/s.
        product: FLOP/s.
    """
    seconds = 0.0
    for conv, count in convolution_shapes(shape, image_size).items():
        found = kernels(conv, batch, width)
        seconds += count * sum(max(moved / copy, flops / product) for moved, flops in found)
    for side, channels, blocks in _block_ends(shape, image_size):
        # The residual is read once forward; backward, two gradients become one.
        seconds += blocks * 4 * batch * side**2 * channels * width / copy
    return batch / seconds


def _block_ends(shape: ResNetShape, image_size: int) -> Iterator[tuple[int, int, int]]:
    """Side, channels and number of the blocks of each stage."""
    side = -(-image_size // (4 if shape.stem == "imagenet" else shape.stem_stride))
    expansion = 4 if shape.block == "bottleneck" else 1
    for index, blocks in enumerate(shape.blocks_per_stage):
        side = -(-side // 2) if index else side
        yield side, shape.width * 2**index * expansion, blocks


def roofline_rows(rows: Sequence[Row]) -> list[Row]:
    """For each measured training step of ours, its share of the roofline of the same run."""
    copies = [row.value for row in rows if row.unit == "GB/s" and row.value]
    found = []
    for row in rows:
        is_step = row.name.startswith("train_step/") and row.unit == "images/s"
        shape = BACKBONES.get(row.extra.get("backbone", ""))
        if not is_step or not row.value or not isinstance(shape, ResNetShape):
            continue
        dtype = row.extra["dtype"]
        products = [
            other.value
            for other in rows
            if other.unit == "GFLOP/s" and other.extra.get("dtype") == dtype and other.value
        ]
        if not (row.framework == "gtn_jax" and copies and products):
            continue
        size, batch = row.extra["image_size"], row.extra["batch_size"]
        width = 2 if dtype == "bfloat16" else 4
        best = rate(shape, size, batch, width, 1e9 * max(copies), 1e9 * max(products))
        name, extra = f"{row.name}/of_roofline", {"roofline_images_per_second": best}
        found.append(Row(name, row.framework, row.value / best, "ratio", row.repeats, extra))
    return found

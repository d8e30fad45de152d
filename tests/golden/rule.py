"""Weights and inputs that anyone can draw again, and digests of arrays.

`gtn_official_seed0.npz`, beside this file, holds numbers of the paper authors' own PyTorch model
(https://github.com/jiaxue-ai/GTN on torchvision's ResNet-50, float32, CPU) at what `draw` and
`inputs` give. It stores no weights: tests draw them under PyTorch's names and send them through
our port, which is thereby tested together with the network.
"""

import math
import zlib
from pathlib import Path

import numpy as np

Shape = tuple[int, ...]

STORED = Path(__file__).with_name("gtn_official_seed0.npz")


def draw(shapes: dict[str, Shape], seed: int) -> dict[str, np.ndarray]:
    """One float32 array a PyTorch name, in PyTorch's layout; depends on name, shape and seed."""
    return {name: _draw(name, shape, seed).astype(np.float32) for name, shape in shapes.items()}


def _draw(name: str, shape: Shape, seed: int) -> np.ndarray:
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    leaf = name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return np.zeros(shape)
    if leaf == "running_var":
        return rng.uniform(0.5, 1.5, shape)
    if leaf in ("running_mean", "bias"):
        return 0.1 * rng.standard_normal(shape)
    if len(shape) == 1:
        return (0.2 if ".bn3." in name else 1.0) * (1 + 0.1 * rng.standard_normal(shape))
    if len(shape) == 4:
        return rng.standard_normal(shape) * math.sqrt(2 / math.prod(shape[1:]))
    return rng.uniform(-1, 1, shape) / math.sqrt(shape[1])


def inputs(seed: int, batch: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Images float32 B 224 224 3, used as they are, and labels int64 B."""
    rng = np.random.default_rng([seed, 7])
    images = rng.standard_normal((batch, 3, 224, 224)).astype(np.float32)
    return images.transpose(0, 2, 3, 1), rng.integers(0, classes, batch)


def digest(array: np.ndarray, name: str, seed: int) -> np.ndarray:
    """Norm, mean and four random dot products, float64, of an array in PyTorch's layout."""
    values = np.asarray(array, np.float64).ravel()
    rng = np.random.default_rng([seed, 99, zlib.crc32(name.encode())])
    dots = [values @ rng.standard_normal(values.size) for _ in range(4)]
    return np.array([np.linalg.norm(values), values.mean(), *dots])


def digest_error(found: np.ndarray, expected: np.ndarray, size: int) -> float:
    """Largest relative difference of two digests of arrays with `size` values.

    Norm and dot products count relative to the norm, the mean to norm / sqrt(size).
    """
    scale = np.full(6, expected[0])
    scale[1] /= math.sqrt(size)
    return float(np.max(np.abs(found - expected) / scale))


def gtn_shapes(classes: int) -> dict[str, Shape]:
    """Name -> shape of the authors' ResNet-50 GTN, in PyTorch's layouts."""
    shapes: dict[str, Shape] = {"feature_extract.0.weight": (64, 3, 7, 7)}
    shapes |= _norm("feature_extract.1", 64)
    channels = 64
    stages = [("feature_extract.4", 3), ("feature_extract.5", 4), ("feature_extract.6", 6)]
    for index, (stage, blocks) in enumerate([*stages, ("layer4.0", 3)]):
        width = 64 * 2**index
        for block in range(blocks):
            shapes |= _bottleneck(f"{stage}.{block}", channels, width, project=block == 0)
            channels = 4 * width
    return shapes | {
        "auxlayer.2.weight": (classes, 1024),
        "fc.0.weight": (128, 2048),
        "fc.3.weight": (2048, 128),
        "classify.1.weight": (classes, 2048),
    }


def _bottleneck(name: str, channels: int, width: int, project: bool) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {
        f"{name}.conv1.weight": (width, channels, 1, 1),
        f"{name}.conv2.weight": (width, width, 3, 3),
        f"{name}.conv3.weight": (4 * width, width, 1, 1),
    }
    shapes |= _norm(f"{name}.bn1", width) | _norm(f"{name}.bn2", width)
    shapes |= _norm(f"{name}.bn3", 4 * width)
    if project:
        shapes[f"{name}.downsample.0.weight"] = (4 * width, channels, 1, 1)
        shapes |= _norm(f"{name}.downsample.1", 4 * width)
    return shapes


def _norm(name: str, channels: int) -> dict[str, Shape]:
    leaves = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{leaf}": (channels,) for leaf in leaves} | {f"{name}.num_batches_tracked": ()}

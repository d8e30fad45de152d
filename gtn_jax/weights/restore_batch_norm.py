"""Weights with BatchNorm folded into convolutions -> the same function with BatchNorm again.

Tools for inference fold y = scale * (conv(x) - mean) / sqrt(var + eps) + bias into a convolution
with a bias. In evaluation nothing is lost; but training normalizes with the statistics of the
batch, and those of a folded file are gone. With some images they can be measured: with mean and
var of what the convolution gives on them (without its bias b), scale = sqrt(var + eps) and
bias = b + mean make BatchNorm(conv(x)) = conv(x) + b, in evaluation exactly, and in training on
batches like the measured ones nearly so. The old scales cannot be found again; they are not needed.
"""

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from gtn_jax.arrays import Array, Variables
from gtn_jax.data.augment import normalize
from gtn_jax.data.decode import decode
from gtn_jax.data.image_files import image_files
from gtn_jax.models.backbones import BACKBONES
from gtn_jax.models.gtn import GTN, variable_shapes
from gtn_jax.models.layers import Conv
from gtn_jax.weights import keymaps
from gtn_jax.weights.port import port
from gtn_jax.weights.read import PICKLE_SUFFIXES, read_pickle, read_safetensors
from gtn_jax.weights.recognize import similar
from gtn_jax.weights.registry import resolve
from gtn_jax.weights.write import check_new_file, write_safetensors

EPSILON = 1e-5
"""Of the BatchNorm of models/resnet.py."""

_BATCH_SIZE = 32


def unfold(
    tensors: Mapping[str, np.ndarray], batches: Iterable[Array], source: str = "weights"
) -> dict[str, np.ndarray]:
    """Give a folded backbone its BatchNorm back, with statistics measured on images.

    Args:
        tensors: as `read_safetensors` returns them, in any naming of `keymaps.FAMILIES`.
        batches: at least one, float B H W 3, normalized as the weights want it, of the size to
            train at; a few hundred images of the target are plenty.
        source: what to call the tensors in errors.

    Returns:
        float32 arrays under torchvision's names, BatchNorm and (if it is there) the classifier
        included; `port` takes them.

    Raises:
        ValueError: nothing is folded, an unknown backbone, tensors that do not fit, or no images.
    """
    family = keymaps.detect_family(tensors)
    if family is None or not keymaps.is_folded(tensors, family):
        raise ValueError(f"{source}: no BatchNorm is folded in here; use it as it is")
    model = _backbone(tensors, family, source)
    plain = _identity_norms(tensors, family)
    variables = port(plain, variable_shapes(model), family="torchvision", source=source)
    # The classifier of the template stands for no numbers, and no output of it is looked at.
    variables = jax.tree.map(
        lambda leaf: leaf if isinstance(leaf, jax.Array) else jnp.zeros(leaf.shape, leaf.dtype),
        variables,
    )
    moments = _measure(model, variables, batches, source)
    for norm, (mean, square) in moments.items():
        variance = np.maximum(square - mean**2, 0)
        plain[f"{norm}.weight"] = np.sqrt(variance + EPSILON).astype(np.float32)
        plain[f"{norm}.bias"] = (plain[f"{norm}.bias"] + mean).astype(np.float32)
        plain[f"{norm}.running_mean"] = mean.astype(np.float32)
        plain[f"{norm}.running_var"] = variance.astype(np.float32)
    return plain


def _backbone(tensors: Mapping[str, np.ndarray], family: str, source: str) -> GTN:
    backbone = similar({name: tensor.shape for name, tensor in tensors.items()}, family)
    if backbone is None:
        raise ValueError(f"{source}: folded, and of none of: {', '.join(BACKBONES)}")
    return GTN(backbone.backbone, 1, "none", stages=backbone.stages, auxiliary=False)


def _identity_norms(tensors: Mapping[str, np.ndarray], family: str) -> dict[str, np.ndarray]:
    """Torchvision's names; after each convolution a BatchNorm that only adds the folded bias."""
    plain: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        path = None if keymaps.is_ignored(name) else keymaps.our_path(name, family)
        if path is None:
            continue
        module = keymaps.torch_module(path[2:-1])
        if path[1] == "backbone" and path[-1] == "bias":
            norm, ones = norm_after(module), np.ones(tensor.shape, np.float32)
            plain[f"{norm}.weight"] = ones * np.float32(math.sqrt(1 + EPSILON))
            plain[f"{norm}.bias"] = tensor.astype(np.float32)
            plain[f"{norm}.running_mean"] = 0 * ones
            plain[f"{norm}.running_var"] = ones
        elif path[1] in ("backbone", "classifier"):
            plain[f"{module}.{'bias' if path[-1] == 'bias' else 'weight'}"] = tensor
    return plain


def norm_after(convolution: str) -> str:
    """Torchvision's name of the BatchNorm that follows a convolution: layer1.0.conv2 -> ...bn2."""
    head, _, last = convolution.rpartition(".")
    last = "1" if last == "0" else last.replace("conv", "bn")
    return f"{head}.{last}" if head else last


def _measure(
    model: GTN, variables: Variables, batches: Iterable[Array], source: str
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Per BatchNorm (torchvision's name): mean and mean square of its input, float64 C."""
    moments_of = _moments_program(model)
    total: dict[str, list[Any]] = {}
    images = 0
    for batch in batches:
        count = len(batch)
        images += count
        for norm, pair in jax.device_get(moments_of(variables, jnp.asarray(batch))).items():
            before = total.get(norm, [0.0, 0.0])
            total[norm] = [b + count * np.float64(p) for b, p in zip(before, pair, strict=True)]
    if not images:
        raise ValueError(f"{source}: BatchNorm is folded in; give images to measure it on")
    return {norm: (mean / images, square / images) for norm, (mean, square) in total.items()}


def _moments_program(model: GTN) -> Callable[[Variables, Array], dict[str, Any]]:
    """Variables, float B H W 3 -> per BatchNorm float32 C: mean and mean square of its input."""

    def is_convolution(module: nn.Module, method: str) -> bool:
        return isinstance(module, Conv) and method == "__call__"

    @jax.jit
    def moments_of(variables: Variables, images: Array) -> dict[str, Any]:
        capture = {"capture_intermediates": is_convolution, "mutable": ["intermediates"]}
        _, state = model.apply(variables, images, train=False, **capture)
        found: dict[Any, Any] = traverse_util.flatten_dict(state["intermediates"])
        # In float32 and in this form, as nn.BatchNorm computes them: training on the same images
        # then divides by what is measured here.
        return {
            norm_after(keymaps.torch_module(path[1:-1])): (
                jnp.mean(maps[0], axis=(0, 1, 2)),
                jnp.mean(jnp.square(maps[0]), axis=(0, 1, 2)),
            )
            for path, maps in found.items()
        }

    return moments_of


def unfold_file(src: Path, dst: Path, images: Path, image_size: int, limit: int = 256) -> int:
    """Unfold a weights file into a new one.

    Args:
        src: .safetensors or a PyTorch file. Its own record of mean and deviation is used,
            ImageNet's where it has none.
        dst: the .safetensors file to write; must not exist.
        images: folder; of many, `limit` evenly spaced ones are measured.
        image_size: side in pixels that training will use.
        limit: most images to measure.

    Returns:
        How many images were measured.

    Raises:
        ValueError: as `unfold`; or a file or an image that cannot be read, or `dst` not written.
    """
    check_new_file(dst)
    path, info = resolve(src)
    tensors = read_pickle(path) if path.suffix in PICKLE_SUFFIXES else read_safetensors(path)
    files, problems = image_files([images])
    if problems:
        raise ValueError(f"{problems[0]}; name a folder of images, `images=FOLDER`")
    chosen = [files[i * len(files) // limit] for i in range(limit)] if len(files) > limit else files

    def batches() -> Iterator[Array]:
        for start in range(0, len(chosen), _BATCH_SIZE):
            part = chosen[start : start + _BATCH_SIZE]
            pixels = [decode(file.read_bytes(), image_size, str(file)) for file in part]
            yield normalize(np.stack(pixels), info.mean, info.std)

    unfolded = unfold(tensors, batches(), str(path))
    record = {"mean": json.dumps(info.mean), "std": json.dumps(info.std)}
    write_safetensors(unfolded, dst, {"source": path.name, **record})
    return len(chosen)

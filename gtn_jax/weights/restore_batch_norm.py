"""Restoration of BatchNorm that was folded into convolutions.

Inference tools fold y = scale * (conv(x) - mean) / sqrt(var + eps) + bias into a convolution with a
bias b. Training needs the statistics of the batch, which are lost, but can be measured on images:
with mean and var of conv(x) (without b), scale = sqrt(var + eps) and bias = b + mean make
BatchNorm(conv(x)) = conv(x) + b, exactly in evaluation and approximately in training on batches
like the measured ones. The original scales cannot be recovered and are not needed.
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
from gtn_jax.data.folder import image_files
from gtn_jax.models.backbones import BACKBONES
from gtn_jax.models.gtn import GTN, variable_shapes
from gtn_jax.models.layers import Conv
from gtn_jax.weights import keymaps
from gtn_jax.weights.port import port
from gtn_jax.weights.read import PICKLE_SUFFIXES, read_pickle, read_safetensors
from gtn_jax.weights.recognize import similar
from gtn_jax.weights.registry import resolve
from gtn_jax.weights.write import check_new_file, write_safetensors

EPSILON = 1e-5  # of the BatchNorm of models/resnet.py
_BATCH_SIZE = 32


def unfold(
    tensors: Mapping[str, np.ndarray], batches: Iterable[Array], source: str = "weights"
) -> dict[str, np.ndarray]:
    """Restore the BatchNorm of a folded backbone with statistics measured on images.

    Args:
        tensors: from `read_safetensors`, named as in one of `keymaps.FAMILIES`.
        batches: at least one, float B H W 3, normalized for the weights, of the size to train at; a
            few hundred images of the target data suffice.
        source: name of the tensors in errors.

    Returns:
        float32 arrays under torchvision's names for `port`, including BatchNorm and the classifier,
        if any.

    Raises:
        ValueError: nothing is folded, an unknown backbone, tensors that do not fit, or no images.
    """
    family = keymaps.detect_family(tensors)
    if family is None or not keymaps.is_folded(tensors, family):
        raise ValueError(f"{source}: no BatchNorm is folded in here; use it as it is")
    backbone = similar({name: tensor.shape for name, tensor in tensors.items()}, family)
    if backbone is None:
        raise ValueError(f"{source}: folded, and of none of: {', '.join(BACKBONES)}")
    model = GTN(backbone.backbone, 1, "none", stages=backbone.stages, auxiliary=False)
    plain = _identity_norms(tensors, family)
    variables = port(plain, variable_shapes(model), family="torchvision", source=source)
    # Zeros replace the abstract classifier of the template, whose output is not used.
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


def _identity_norms(tensors: Mapping[str, np.ndarray], family: str) -> dict[str, np.ndarray]:
    """Torchvision's tensors with a BatchNorm after each convolution that only adds its bias."""
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
    """Torchvision's name of the BatchNorm after a convolution: layer1.0.conv2 -> layer1.0.bn2."""
    head, _, last = convolution.rpartition(".")
    last = "1" if last == "0" else last.replace("conv", "bn")
    return f"{head}.{last}" if head else last


def _measure(
    model: GTN, variables: Variables, batches: Iterable[Array], source: str
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """BatchNorm (torchvision's name) -> mean and mean square of its input, float64 C."""
    moments_of = _moments_program(model)
    total: dict[str, list[Any]] = {}
    images = 0
    for batch in batches:
        count = len(batch)
        images += count
        for norm, pair in jax.device_get(moments_of(variables, jnp.asarray(batch))).items():
            sums = total.get(norm, [0.0, 0.0])
            total[norm] = [s + count * np.float64(p) for s, p in zip(sums, pair, strict=True)]
    if not images:
        raise ValueError(f"{source}: BatchNorm is folded in; give images to measure it on")
    return {norm: (mean / images, square / images) for norm, (mean, square) in total.items()}


def _moments_program(model: GTN) -> Callable[[Variables, Array], dict[str, Any]]:
    """Compile (variables, float B H W 3) -> {BatchNorm: float32 C mean, mean square of input}."""

    def is_convolution(module: nn.Module, method: str) -> bool:
        return isinstance(module, Conv) and method == "__call__"

    @jax.jit
    def moments_of(variables: Variables, images: Array) -> dict[str, Any]:
        capture = {"capture_intermediates": is_convolution, "mutable": ["intermediates"]}
        _, state = model.apply(variables, images, train=False, **capture)
        outputs: dict[Any, Any] = traverse_util.flatten_dict(state["intermediates"])
        # In float32 and in this form, as in nn.BatchNorm, so training on the same images divides
        # by the same values.
        return {
            norm_after(keymaps.torch_module(path[1:-1])): (
                jnp.mean(maps[0], axis=(0, 1, 2)),
                jnp.mean(jnp.square(maps[0]), axis=(0, 1, 2)),
            )
            for path, maps in outputs.items()
        }

    return moments_of


def unfold_file(src: Path, dst: Path, images: Path, image_size: int, limit: int = 256) -> int:
    """Restore the BatchNorm of a .safetensors or PyTorch file in a new .safetensors file `dst`.

    At most `limit` evenly spaced images of the directory are measured at `image_size` pixels, the
    size to train at, normalized by the file's recorded mean and std, else ImageNet's.

    Returns:
        Number of images measured.

    Raises:
        ValueError: as in `unfold`; a file or an image that cannot be read or written.
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

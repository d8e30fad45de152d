"""Third-party ResNet parameter names <-> paths in our variables.

One table per family of names: "torchvision" (also timm's), "gtn_authors" (checkpoints of
https://github.com/jiaxue-ai/GTN, model/GTN.py), "cifar"
(https://github.com/akamaster/pytorch_resnet_cifar10, shortcuts without weights) and
"huggingface" (https://github.com/huggingface/transformers, models/resnet, e.g.
microsoft/resnet-50). Our module names are torchvision's, so the tables are close to the identity.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from gtn_jax.errors import unknown_name

LeafPath = tuple[str, ...]
"""Path of a leaf, e.g. ("params", "backbone", "layer1", "0", "conv1", "kernel")."""

Row = tuple[str, str]
"""Pattern that a source module's whole name matches, and our module name (both dotted)."""


def _backbone(stem: tuple[str, str], stages: Iterable[str]) -> tuple[Row, ...]:
    """Rows of a backbone with these patterns of the first convolution, its norm and the stages."""
    rows = [(stem[0], "backbone.conv1"), (stem[1], "backbone.bn1")]
    for number, stage in enumerate(stages, start=1):
        ours = rf"backbone.layer{number}.\1"
        rows.append((rf"{stage}\.(\d+)\.((?:conv|bn)[1-3])", rf"{ours}.\2"))
        rows.append((rf"{stage}\.(\d+)\.downsample\.0", rf"{ours}.downsample.conv"))
        rows.append((rf"{stage}\.(\d+)\.downsample\.1", rf"{ours}.downsample.bn"))
    return tuple(rows)


def _huggingface() -> tuple[Row, ...]:
    """Rows of transformers; the prefix "resnet." is absent in files of a backbone alone."""
    stem = r"(?:resnet\.)?embedder\.embedder"
    rows = [
        (rf"{stem}\.convolution", "backbone.conv1"),
        (rf"{stem}\.normalization", "backbone.bn1"),
    ]
    for stage in range(4):
        # Stages and convolutions are numbered from 0 there, from 1 here.
        block = rf"(?:resnet\.)?encoder\.stages\.{stage}\.layers\.(\d+)"
        ours = rf"backbone.layer{stage + 1}.\1"
        for layer in range(3):
            rows.append((rf"{block}\.layer\.{layer}\.convolution", f"{ours}.conv{layer + 1}"))
            rows.append((rf"{block}\.layer\.{layer}\.normalization", f"{ours}.bn{layer + 1}"))
        rows.append((rf"{block}\.shortcut\.convolution", f"{ours}.downsample.conv"))
        rows.append((rf"{block}\.shortcut\.normalization", f"{ours}.downsample.bn"))
    return (*rows, (r"classifier\.1", "classifier.fc"))


FAMILIES: dict[str, tuple[Row, ...]] = {
    "torchvision": (
        *_backbone(("conv1", "bn1"), ("layer1", "layer2", "layer3", "layer4")),
        ("fc", "classifier.fc"),
    ),
    "gtn_authors": (
        *_backbone(
            (r"feature_extract\.0", r"feature_extract\.1"),
            (r"feature_extract\.4", r"feature_extract\.5", r"feature_extract\.6", r"layer4\.0"),
        ),
        (r"auxlayer\.2", "aux_classifier.fc"),
        (r"fc\.0", "gate.fc1"),
        (r"fc\.3", "gate.fc2"),
        (r"classify\.1", "classifier.fc"),
    ),
    "cifar": (
        *_backbone(("conv1", "bn1"), ("layer1", "layer2", "layer3")),
        ("linear", "classifier.fc"),
    ),
    "huggingface": _huggingface(),
}

IGNORED = ("num_batches_tracked",)
"""Last parts of names that are ignored: PyTorch's BatchNorm counts its steps."""

_NORM_LEAVES = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}
_OTHER_LEAVES = {"weight": ("params", "kernel"), "bias": ("params", "bias")}

# Convolutions have four axes, OIHW -> HWIO; linear layers two, (out, in) -> (in, out).
_AXES_TO_OURS = {4: (2, 3, 1, 0), 2: (1, 0)}
_AXES_TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0)}


def strip_module(name: str) -> str:
    """Remove the prefix that torch.nn.DataParallel adds."""
    return name.removeprefix("module.")


def is_ignored(name: str) -> bool:
    """Whether the tensor is one of `IGNORED`."""
    return name.rpartition(".")[2] in IGNORED


def detect_family(names: Iterable[str]) -> str | None:
    """The key of `FAMILIES` that `names` belong to, or None."""
    stripped = {strip_module(name) for name in names}
    if any(name.startswith("feature_extract.") for name in stripped):
        return "gtn_authors"
    if "linear.weight" in stripped:
        return "cifar"
    if any(re.match(r"(resnet\.)?(embedder\.embedder|encoder\.stages)\.", n) for n in stripped):
        return "huggingface"
    if any(re.match(r"conv1\.|layer\d+\.\d+\.", name) for name in stripped):
        return "torchvision"
    return None


def is_folded(names: Iterable[str], family: str) -> bool:
    """Whether BatchNorm is folded: convolutions have biases, and there are no statistics."""
    paths = [our_path(name, family) for name in names if not is_ignored(name)]
    backbone = [path for path in paths if path and path[1] == "backbone"]
    biases = [path for path in backbone if path[-1] == "bias" and path[-2].startswith("conv")]
    return bool(biases) and not any(path[0] == "batch_stats" for path in backbone)


def our_path(name: str, family: str) -> LeafPath | None:
    """The path in our variables of a tensor, or None; ValueError for an unknown family."""
    if family not in FAMILIES:
        raise unknown_name("family of weight names", family, FAMILIES)
    module, _, leaf = strip_module(name).rpartition(".")
    for pattern, replacement in FAMILIES[family]:
        if match := re.fullmatch(pattern, module):
            modules = match.expand(replacement).split(".")
            leaves = _NORM_LEAVES if modules[-1].startswith("bn") else _OTHER_LEAVES
            if leaf not in leaves:
                return None
            collection, ours = leaves[leaf]
            return (collection, *modules, ours)
    return None


def to_our_layout(array: np.ndarray) -> np.ndarray:
    """A view in Flax's layout: OIHW -> HWIO, (out, in) -> (in, out)."""
    return array.transpose(_AXES_TO_OURS.get(array.ndim, range(array.ndim)))


def to_torch_layout(array: np.ndarray) -> np.ndarray:
    """A view in PyTorch's layout: HWIO -> OIHW, (in, out) -> (out, in)."""
    return array.transpose(_AXES_TO_TORCH.get(array.ndim, range(array.ndim)))


def torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Convert a shape to PyTorch's layout."""
    return tuple(shape[axis] for axis in _AXES_TO_TORCH.get(len(shape), range(len(shape))))


def to_torchvision(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The backbone and the classifier of a GTN under torchvision's names, in PyTorch's layouts.

    Args:
        variables: {"params": ..., "batch_stats": ...}. Gate and auxiliary classifier are left out.

    Returns:
        C-contiguous float32 arrays; the classifier is `fc.weight` and, if present, `fc.bias`.
    """
    tensors = {}
    for path, leaf in traverse_util.flatten_dict(dict(variables)).items():
        if path[1] in ("backbone", "classifier"):
            module = torch_module(path[2:-1])
            tensors[f"{module}.{_torch_leaf(path)}"] = _to_torch_array(leaf)
    return tensors


_AUTHORS_STAGES = {
    **{"conv1": "feature_extract.0", "bn1": "feature_extract.1"},
    **{f"layer{stage}": f"feature_extract.{stage + 3}" for stage in (1, 2, 3)},
    "layer4": "layer4.0",
}
_AUTHORS_HEADS = {
    ("gate", "fc1"): "fc.0",
    ("gate", "fc2"): "fc.3",
    ("classifier", "fc"): "classify.1",
    ("aux_classifier", "fc"): "auxlayer.2",
}


def to_authors(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """All variables of a GTN under the names of the authors' model, in PyTorch's layouts.

    Args:
        variables: {"params": ..., "batch_stats": ...} of a GTN as theirs: a backbone of four
            stages, gate "sigmoid", an auxiliary classifier, no biases.

    Returns:
        C-contiguous float32 arrays, without `num_batches_tracked`.

    Raises:
        KeyError: a leaf that their model does not have.
    """
    tensors = {}
    for path, leaf in traverse_util.flatten_dict(dict(variables)).items():
        if path[1] == "backbone":
            rest = torch_module(path[3:-1])
            module = f"{_AUTHORS_STAGES[path[2]]}.{rest}".removesuffix(".")
        else:
            module = _AUTHORS_HEADS[path[1], path[2]]
        tensors[f"{module}.{_torch_leaf(path)}"] = _to_torch_array(leaf)
    return tensors


def torch_module(path: LeafPath) -> str:
    """Torchvision's name of a module of the backbone, e.g. ("layer1", "0", "downsample", "bn")."""
    module = ".".join(path).replace("downsample.conv", "downsample.0")
    return module.replace("downsample.bn", "downsample.1")


def _torch_leaf(path: LeafPath) -> str:
    leaves = _NORM_LEAVES if path[-2].startswith("bn") else _OTHER_LEAVES
    return next(key for key, value in leaves.items() if value == (path[0], path[-1]))


def _to_torch_array(leaf: Any) -> np.ndarray:
    return np.array(to_torch_layout(np.asarray(leaf, np.float32)), order="C")

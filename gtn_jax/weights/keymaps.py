"""Names of other people's ResNets <-> paths in our variables, as short tables.

One table a family of names: "torchvision" (also timm's), "gtn_authors" (checkpoints of
https://github.com/jiaxue-ai/GTN, model/GTN.py) and "cifar"
(https://github.com/akamaster/pytorch_resnet_cifar10, shortcuts without weights). Ours are
torchvision's words already, so the tables are near the identity. Which tensor must be there, and
whether it fits, is port.py.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flax import traverse_util

from gtn_jax.errors import unknown_name

LeafPath = tuple[str, ...]
"""Where a leaf is, e.g. ("params", "backbone", "layer1", "0", "conv1", "kernel")."""

Row = tuple[str, str]
"""Pattern of a source module's whole name, our module (both dotted)."""


def _trunk(stem: tuple[str, str], stages: Iterable[str]) -> tuple[Row, ...]:
    """Rows of a trunk whose first convolution, first norm and stages have these patterns."""
    rows = [(stem[0], "backbone.conv1"), (stem[1], "backbone.bn1")]
    for number, stage in enumerate(stages, start=1):
        ours = rf"backbone.layer{number}.\1"
        rows.append((rf"{stage}\.(\d+)\.((?:conv|bn)[1-3])", rf"{ours}.\2"))
        rows.append((rf"{stage}\.(\d+)\.downsample\.0", rf"{ours}.downsample.conv"))
        rows.append((rf"{stage}\.(\d+)\.downsample\.1", rf"{ours}.downsample.bn"))
    return tuple(rows)


FAMILIES: dict[str, tuple[Row, ...]] = {
    "torchvision": (
        *_trunk(("conv1", "bn1"), ("layer1", "layer2", "layer3", "layer4")),
        ("fc", "classifier.fc"),
    ),
    "gtn_authors": (
        *_trunk(
            (r"feature_extract\.0", r"feature_extract\.1"),
            (r"feature_extract\.4", r"feature_extract\.5", r"feature_extract\.6", r"layer4\.0"),
        ),
        (r"auxlayer\.2", "aux_classifier.fc"),
        (r"fc\.0", "gate.fc1"),
        (r"fc\.3", "gate.fc2"),
        (r"classify\.1", "classifier.fc"),
    ),
    "cifar": (
        *_trunk(("conv1", "bn1"), ("layer1", "layer2", "layer3")),
        ("linear", "classifier.fc"),
    ),
}

IGNORED = ("num_batches_tracked",)
"""Last words of names that no model of ours has a use for: PyTorch's BatchNorm counts its steps."""

_NORM_LEAVES = {
    "weight": ("params", "scale"),
    "bias": ("params", "bias"),
    "running_mean": ("batch_stats", "mean"),
    "running_var": ("batch_stats", "var"),
}
_OTHER_LEAVES = {"weight": ("params", "kernel"), "bias": ("params", "bias")}

# Only convolutions have four axes and only linear layers two: OIHW -> HWIO, (out, in) -> (in, out).
_AXES_TO_OURS = {4: (2, 3, 1, 0), 2: (1, 0)}
_AXES_TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0)}


def strip_module(name: str) -> str:
    """`name` without the "module." that torch.nn.DataParallel puts before every name."""
    return name.removeprefix("module.")


def is_ignored(name: str) -> bool:
    """Whether the tensor called `name` is of no use to any model of ours (see `IGNORED`)."""
    return name.rpartition(".")[2] in IGNORED


def detect_family(names: Iterable[str]) -> str | None:
    """The family that `names` belong to, a key of `FAMILIES`; None if to none of them."""
    stripped = {strip_module(name) for name in names}
    if any(name.startswith("feature_extract.") for name in stripped):
        return "gtn_authors"
    if "linear.weight" in stripped:
        return "cifar"
    if any(re.match(r"conv1\.|layer\d+\.\d+\.", name) for name in stripped):
        return "torchvision"
    return None


def our_path(name: str, family: str) -> LeafPath | None:
    """Where the tensor called `name` belongs in our variables; None if nowhere.

    Raises:
        ValueError: unknown family.
    """
    if family not in FAMILIES:
        raise unknown_name("family of weight names", family, FAMILIES)
    module, _, leaf = strip_module(name).rpartition(".")
    for pattern, replacement in FAMILIES[family]:
        if match := re.fullmatch(pattern, module):
            words = match.expand(replacement).split(".")
            leaves = _NORM_LEAVES if words[-1].startswith("bn") else _OTHER_LEAVES
            if leaf not in leaves:
                return None
            collection, ours = leaves[leaf]
            return (collection, *words, ours)
    return None


def to_our_layout(array: np.ndarray) -> np.ndarray:
    """A view of a PyTorch array in Flax's layout: OIHW -> HWIO, (out, in) -> (in, out)."""
    return array.transpose(_AXES_TO_OURS.get(array.ndim, range(array.ndim)))


def to_torch_layout(array: np.ndarray) -> np.ndarray:
    """A view of one of our arrays in PyTorch's layout: HWIO -> OIHW, (in, out) -> (out, in)."""
    return array.transpose(_AXES_TO_TORCH.get(array.ndim, range(array.ndim)))


def torch_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape in PyTorch's layout of an array that has `shape` in ours."""
    return tuple(shape[axis] for axis in _AXES_TO_TORCH.get(len(shape), range(len(shape))))


def to_torchvision(variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Trunk and classifier of a GTN under torchvision's names and in PyTorch's layouts.

    The gate and the auxiliary classifier have no name there and are left out.

    Args:
        variables: {"params": ..., "batch_stats": ...} of a GTN.

    Returns:
        C-contiguous float32 arrays; the classifier is `fc.weight` and, if it has one, `fc.bias`.
    """
    tensors = {}
    for path, leaf in traverse_util.flatten_dict(dict(variables)).items():
        collection, part, *words, ours = path
        if part not in ("backbone", "classifier"):
            continue
        leaves = _NORM_LEAVES if words[-1].startswith("bn") else _OTHER_LEAVES
        torch_leaf = next(key for key, value in leaves.items() if value == (collection, ours))
        module = ".".join(words).replace("downsample.conv", "downsample.0")
        module = module.replace("downsample.bn", "downsample.1")
        array = to_torch_layout(np.asarray(leaf, np.float32))
        tensors[f"{module}.{torch_leaf}"] = np.array(array, order="C")
    return tensors

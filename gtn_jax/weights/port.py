"""Third-party tensors -> our variables.

Every tensor of the source is used or ignored by an explicit rule, and every leaf is filled or left
at its initial value by one; all mismatches are reported in one error.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, cast, get_args

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from gtn_jax.arrays import Variables
from gtn_jax.errors import unknown_name
from gtn_jax.weights import keymaps
from gtn_jax.weights.recognize import similar

HeadPolicy = Literal["fresh", "load"]  # of gate, classifier and auxiliary classifier; see `port`
HEADS = ("gate", "classifier", "aux_classifier")  # the parts of a GTN besides its backbone


class Problem(NamedTuple):
    """A tensor or leaf that does not fit."""

    kind: Literal["missing", "misshapen", "extra", "unusable"]
    text: str  # name, expected and actual properties


def port(
    tensors: Mapping[str, np.ndarray],
    template: Mapping[str, Any],
    *,
    heads: HeadPolicy = "fresh",
    family: str | None = None,
    source: str = "weights",
) -> Variables:
    """Variables shaped like `template` with values from `tensors`; neither argument is changed.

    `num_batches_tracked` is always ignored. `heads` is one of:

    - "fresh", for fine-tuning on other classes: the whole backbone must be filled; gate, classifier
      and auxiliary classifier are those of `template`. The source's own heads are ignored, and its
      stages beyond the last one of `template` (`stages`).
    - "load", for a complete checkpoint: every leaf must be filled and every tensor used.

    Args:
        tensors: from `read_safetensors`, named as in one of `keymaps.FAMILIES`.
        template: variables of the GTN, e.g. from `init_variables`; with "load", shapes
            (`jax.eval_shape`) suffice.
        heads: see above.
        family: key of `keymaps.FAMILIES`; None infers it from the names.
        source: name of the tensors in errors, e.g. the path of their file.

    Returns:
        Nested dicts; filled leaves are new jax arrays in the dtype of `template`.

    Raises:
        ValueError: unknown `heads` or family, or a tensor that is missing, misshapen, extra, not
            floating-point, not finite, all zero (a convolution) or negative (a variance): the first
            five with the expected and actual properties, and their number.

    Example:
        >>> from gtn_jax.models.gtn import GTN, variable_shapes
        >>> from gtn_jax.weights.read import read_safetensors
        >>> from gtn_jax.weights.registry import resolve
        >>> path, _ = resolve("tiny_imagenet")
        >>> tensors = read_safetensors(path)
        >>> tensors["conv1.weight"].shape  # PyTorch's O I H W
        (64, 3, 3, 3)
        >>> template = variable_shapes(GTN("resnet8_wide", num_classes=5, stages=2))
        >>> variables = port(tensors, template)
        >>> variables["params"]["backbone"]["conv1"]["kernel"].shape  # Flax's H W I O
        (3, 3, 3, 64)
    """
    if heads not in get_args(HeadPolicy):
        raise unknown_name("policy for heads", heads, get_args(HeadPolicy))
    family = family or keymaps.detect_family(tensors)
    if family is None:
        names = ", ".join(list(tensors)[:5]) or "no tensors at all"
        raise ValueError(
            f"{source}: these are not the names of a ResNet that is known here: {names}\n"
            "expected torchvision's or timm's (conv1.weight, layer1.0.conv1.weight, ...), "
            "transformers', the GTN authors' or the CIFAR family's"
        )
    if keymaps.is_folded(tensors, family):
        raise ValueError(
            f"{source}: BatchNorm is folded into the convolutions, so it cannot be trained with\n"
            f"the statistics of a batch; measure them on images of yours, once:\n"
            f"`unfold_file({source!r}, NEW.safetensors, images=FOLDER, image_size=PIXELS)`"
        )
    leaves = cast(dict[keymaps.LeafPath, Any], traverse_util.flatten_dict(dict(template)))
    filled, problems = _fill(tensors, leaves, heads, family)
    if problems:
        raise ValueError(_report(problems, tensors, family, source))
    # Converted on the host, as jnp.array would compile a program for each shape.
    arrays = {path: np.array(tensor, leaves[path].dtype) for path, tensor in filled.items()}
    return traverse_util.unflatten_dict(leaves | jax.device_put(arrays))


def _fill(
    tensors: Mapping[str, np.ndarray],
    leaves: Mapping[keymaps.LeafPath, Any],
    heads: HeadPolicy,
    family: str,
) -> tuple[dict[keymaps.LeafPath, np.ndarray], list[Problem]]:
    """Path -> tensor in our layout, and all mismatches."""
    filled: dict[keymaps.LeafPath, np.ndarray] = {}
    problems = []
    modules = {path[1:3] for path in leaves}
    for name, tensor in tensors.items():
        if keymaps.is_ignored(name):
            continue
        path = keymaps.our_path(name, family)
        if path is not None and heads == "fresh" and _is_ignored(path, modules):
            continue
        if path is None or path not in leaves:
            problems.append(
                Problem("extra", f"{name}: expected no such tensor, found {tensor.shape}")
            )
        elif path in filled:
            problems.append(
                Problem("extra", f"{name}: expected once, found with and without 'module.'")
            )
        else:
            filled[path] = keymaps.to_our_layout(tensor)
            problems += _check(name, tensor, path, leaves[path].shape)
    for path, leaf in leaves.items():
        if path not in filled and not (heads == "fresh" and path[1] in HEADS):
            text = (
                f"{'.'.join(path[1:])}: expected {keymaps.torch_shape(leaf.shape)}, found nothing"
            )
            problems.append(Problem("missing", text))
    return filled, problems


def _is_ignored(path: keymaps.LeafPath, modules: set[tuple[str, ...]]) -> bool:
    """Whether policy "fresh" ignores tensors of `path` (see `port`)."""
    is_stage = path[2].startswith("layer")
    return path[1] in HEADS or (is_stage and ("backbone", path[2]) not in modules)


def _check(
    name: str, tensor: np.ndarray, path: keymaps.LeafPath, shape: tuple[int, ...]
) -> list[Problem]:
    """The mismatch of a tensor with its leaf, if any."""
    expected = keymaps.torch_shape(shape)
    if tensor.shape != expected:
        return [Problem("misshapen", f"{name}: expected {expected}, found {tensor.shape}")]
    if not jnp.issubdtype(tensor.dtype, jnp.floating):
        return [Problem("unusable", f"{name}: expected floats, found {tensor.dtype}")]
    with np.errstate(over="ignore"):  # values beyond float32 are reported as infinite
        values = tensor.astype(np.float32)
    broken = int(np.count_nonzero(~np.isfinite(values)))
    if broken:
        text = f"{name}: expected finite values, found {broken} NaN or infinite of {values.size}"
        return [Problem("unusable", text)]
    if len(shape) == 4 and not values.any():
        return [Problem("unusable", f"{name}: expected trained values, found only zeros")]
    if path[-1] == "var" and values.min() < 0:
        return [Problem("unusable", f"{name}: expected variances, found {values.min():g}")]
    return []


def _report(
    problems: list[Problem], tensors: Mapping[str, np.ndarray], family: str, source: str
) -> str:
    counts = {kind: sum(problem.kind == kind for problem in problems) for kind, _ in problems}
    tally = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    first = "; ".join(problem.text for problem in problems[:5])
    guess = looks_like(tensors, family)
    return (
        f"{source}: {len(problems)} tensors do not fit the model ({tally}), read as {family} "
        f"names, shapes as in PyTorch.\n{first}\n"
        f"{f'The file looks like {guess}: check' if guess else 'Check'} model.backbone and "
        "model.stages, or choose other weights."
    )


def looks_like(tensors: Mapping[str, np.ndarray], family: str) -> str | None:
    """The name of a similar backbone, e.g. "resnet50 with stages=3", if any (see `similar`)."""
    backbone = similar({name: tensor.shape for name, tensor in tensors.items()}, family)
    return None if backbone is None else str(backbone)

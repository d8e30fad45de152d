"""Construction of a GTN and its variables, optionally from pretrained weights."""

import logging
from pathlib import Path
from typing import Any

from gtn_jax.arrays import Variables
from gtn_jax.models.backbones import BACKBONES, ResNetShape
from gtn_jax.models.gtn import GTN, init_heads, init_variables, trace
from gtn_jax.weights.port import HeadPolicy, port
from gtn_jax.weights.read import read_safetensors
from gtn_jax.weights.registry import WEIGHTS, resolve

_log = logging.getLogger(__name__)


def create(
    backbone: str,
    num_classes: int,
    gate: str = "sigmoid",
    weights: str | Path | None = None,
    seed: int = 0,
    *,
    heads: HeadPolicy = "fresh",
    **model_arguments: Any,
) -> tuple[GTN, Variables]:
    """Build a gated transfer network.

    Args:
        backbone: name in `BACKBONES`, e.g. "resnet50".
        num_classes: N, at least 1.
        gate: name in `GATES`; "sigmoid" is the paper's.
        weights: None for random initialization, a name in `WEIGHTS`, "hf:OWNER/NAME" or the path of
            a .safetensors file.
        seed: of the random initialization of heads and, without `weights`, backbone.
        heads: "fresh" loads only the backbone from `weights`, "load" everything (see `port`).
        **model_arguments: further fields of `GTN`, e.g. `stages=3` or `dtype=jnp.bfloat16`.

    Returns:
        The model, and float32 variables {"params": ..., "batch_stats": ...} for `model.apply`.

    Raises:
        ValueError: unknown backbone or gate, or weights that are missing, invalid or do not fit.

    Example:
        The backbone that ships with the package, for 5 classes:

        >>> import gtn_jax
        >>> model, variables = gtn_jax.create("resnet8_wide", 5, weights="tiny_imagenet")
        >>> variables["params"]["classifier"]["fc"]["kernel"].shape
        (256, 5)
    """
    if num_classes < 1:
        raise ValueError(f"num_classes: {num_classes}, expected at least 1")
    model = GTN(backbone=backbone, num_classes=num_classes, gate=gate, **model_arguments)
    if weights is None:
        return model, init_variables(model, seed)
    return model, load_weights(model, weights, seed, heads)


def load_weights(
    model: GTN, weights: str | Path, seed: int = 0, heads: HeadPolicy = "fresh"
) -> Variables:
    """Variables of `model` with the backbone ("fresh") or everything ("load") from `weights`.

    Arguments and errors are those of `create`. Widening 16-bit floats is logged as a warning.
    """
    path, info = resolve(weights)
    # Another builder's backbone may have the names and shapes of one in the table; `port` checks.
    is_ours = isinstance(BACKBONES.get(model.backbone), ResNetShape)
    if is_ours and info.backbone not in (None, model.backbone):
        raise ValueError(
            f"weights {weights} are of {info.backbone}, the model is {model.backbone}; "
            f"set model.backbone to {info.backbone} or choose other weights"
        )
    # The package's own files are 16-bit on purpose.
    note = None if str(weights) in WEIGHTS else _log.warning
    tensors = read_safetensors(path, note)
    traced = trace(model)
    variables = port(tensors, traced.variables, heads=heads, source=str(path))
    if heads == "fresh":
        variables["params"].update(init_heads(model, seed, traced))
    return variables

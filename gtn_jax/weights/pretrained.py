"""A GTN and its variables in one call, the backbone pretrained if weights are given.

`create` is `gtn_jax.create`. Finding, reading and mapping weights are registry.py, read.py and
port.py; nothing is trained here.
"""

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
        weights: None for a random start, a name in `WEIGHTS`, "hf:OWNER/NAME" or the path of a
            .safetensors file.
        seed: of everything random: the heads, and the backbone without `weights`.
        heads: "fresh" takes only the backbone from `weights`, "load" everything (see `port`).
        **model_arguments: further fields of `GTN`, e.g. `stages=3` or `dtype=jnp.bfloat16`.

    Returns:
        The model, and float32 variables {"params": ..., "batch_stats": ...} for `model.apply`.

    Raises:
        ValueError: unknown backbone or gate, or weights that are absent, broken or do not fit.

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
    """Variables of `model` with its backbone ("fresh") or all of it ("load") from `weights`.

    A file that is not ours and holds halves is noted in one line of the log (level warning).

    Args:
        model: any GTN.
        weights: as in `create`.
        seed: of what `weights` do not fill.
        heads: see `port`.

    Raises:
        ValueError: as in `create`.
    """
    path, info = resolve(weights)
    # A backbone of another builder may have the names and shapes of one in the table; `port` looks.
    is_ours = isinstance(BACKBONES.get(model.backbone), ResNetShape)
    if is_ours and info.backbone not in (None, model.backbone):
        raise ValueError(
            f"weights {weights} are of {info.backbone}, the model is {model.backbone}; "
            f"set model.backbone to {info.backbone} or choose other weights"
        )
    # Our own files are stored in halves on purpose, so there is nothing to note about them.
    note = None if str(weights) in WEIGHTS else _log.warning
    tensors = read_safetensors(path, note)
    traced = trace(model)
    variables = port(tensors, traced.variables, heads=heads, source=str(path))
    if heads == "fresh":
        variables["params"].update(init_heads(model, seed, traced))
    return variables

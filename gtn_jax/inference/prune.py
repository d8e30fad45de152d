"""A run -> the same network without some channels of its last map.

What a dropped channel says on average stays, as biases: of the gate's first layer, which sees the
pooled features f, and of the classifier, which sees what the gate y(f) lets through,

    W1 f     becomes  W1_K f_K + W1_D mean(f_D)
    Wc y(f)  becomes  Wc_K y_K + Wc_D mean(y_D)      K kept, D dropped, means of training images.

The last block loses the kernels of these channels and their BatchNorm. The auxiliary classifier,
which predicts nothing, is left behind. Which channels to keep is analysis/channels.py's.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import traverse_util

from gtn_jax.arrays import Variables
from gtn_jax.config import override
from gtn_jax.devices import data_mesh, replicate
from gtn_jax.inference.restore import Restored
from gtn_jax.models.gtn import variable_shapes
from gtn_jax.training.programs import build_module, build_programs

_Path = tuple[str, ...]
_GATE: _Path = ("params", "gate", "fc1")
_CLASSIFIER: _Path = ("params", "classifier", "fc")


class ChannelMeans(NamedTuple):
    """Over training images.

    Attributes:
        features: float K, of the pooled features.
        gated: float K, of what the gate lets through of them.
    """

    features: np.ndarray
    gated: np.ndarray


def prune(run: Restored, kept: Sequence[int], means: ChannelMeans) -> Restored:
    """The smaller network of a run; nothing is written.

    Args:
        run: restored.
        kept: which of its K channels, rising, at least one.
        means: of all K.

    Raises:
        ValueError: a trunk or a gate whose channels cannot be told from their names and shapes.
    """
    old = _flat(jax.device_get(run.variables))
    width = len(means.features)
    dropped = np.setdiff1d(np.arange(width), kept)
    channels = run.config.model.kept_channels or range(width)
    fields: dict[str, Any] = {
        "model.kept_channels": tuple(int(channels[place]) for place in kept),
        "model.classifier_bias": True,
        "model.aux_weight": 0.0,
    }
    hidden = old.get((*_GATE, "kernel"))
    if hidden is not None:
        fields |= {"model.gate_hidden_units": int(hidden.shape[1]), "model.gate_bias": True}
    config = override(run.config, fields)
    model = build_module(config, len(run.classes))
    moved: dict[_Path, np.ndarray] = {_GATE: means.features, _CLASSIFIER: means.gated}
    new = {}
    for path, shape in _flat(variable_shapes(model)).items():
        layer = path[:-1]
        if path[-1] == "bias" and layer in moved:
            constant = moved[layer][dropped] @ old[(*layer, "kernel")][dropped]
            new[path] = (old.get(path, 0) + constant).astype(np.float32)
        elif path in old:
            new[path] = _cut(old[path], shape.shape, width, kept)
        if path not in new or new[path].shape != shape.shape:
            raise ValueError(
                f"model.gate: the channels of {run.config.model.gate} cannot be cut, as "
                f"{'.'.join(path[1:])} is not of one number, row or column a channel"
            )
    variables: Variables = replicate(traverse_util.unflatten_dict(new), data_mesh())
    programs = build_programs(config, model, run.preprocessing, steps_per_epoch=1)
    return dataclasses.replace(
        run, config=config, model=model, variables=variables, programs=programs, step=0
    )


def _flat(tree: Variables) -> dict[_Path, Any]:
    return traverse_util.flatten_dict(tree)  # pyright: ignore[reportReturnType]


def _cut(leaf: np.ndarray, shape: tuple[int, ...], width: int, kept: Sequence[int]) -> np.ndarray:
    for axis, (before, after) in enumerate(zip(leaf.shape, shape, strict=True)):
        if before != after and (before, after) == (width, len(kept)):
            leaf = np.take(leaf, kept, axis)
    return leaf

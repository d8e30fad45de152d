"""Gate and classifier of a run, taken off its trunk: functions of pooled features."""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from gtn_jax.arrays import Array
from gtn_jax.inference.restore import Restored
from gtn_jax.models.gtn import gate_of


class Head(NamedTuple):
    """What stands on the pooled features, without dropout.

    Attributes:
        gate: float32 B K -> the gated features B K; jitted.
        kernel: float32 K N, of the classifier.
        bias: float32 N, zeros where the classifier has none.
    """

    gate: Callable[[Array], jax.Array]
    kernel: np.ndarray
    bias: np.ndarray

    def logits(self, gated: Array) -> np.ndarray:
        """Gated features B K -> float64 B N."""
        return np.asarray(gated, np.float64) @ self.kernel.astype(np.float64) + self.bias


def head_of(run: Restored) -> Head:
    """The head of a run's selected weights."""
    params = jax.device_get(run.variables["params"])
    classifier, own = params["classifier"]["fc"], params.get("gate", {})
    module = gate_of(run.model)

    @jax.jit
    def gate(features: Array) -> jax.Array:
        applied = cast(tuple[Any, Any], module.apply({"params": own}, jnp.asarray(features), False))
        return applied[0]

    kernel = np.asarray(classifier["kernel"])
    return Head(gate, kernel, np.asarray(classifier.get("bias", np.zeros(kernel.shape[1]))))

"""Gated transfer networks in JAX: pretrained ResNets, adapted with a gate to small image sets.

Attributes are loaded on first use (PEP 562), so that `import gtn_jax` and the help
of `gtn` are fast.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gtn_jax.arrays import Batch, Outputs
    from gtn_jax.config import Config
    from gtn_jax.inference.predict import predict
    from gtn_jax.inference.restore import restore
    from gtn_jax.models.gtn import GTN
    from gtn_jax.training.loop import run as train
    from gtn_jax.weights.pretrained import create

__all__ = ["GTN", "Batch", "Config", "Outputs", "create", "predict", "restore", "train"]

_WHERE = {
    "Batch": "gtn_jax.arrays",
    "Outputs": "gtn_jax.arrays",
    "Config": "gtn_jax.config",
    "GTN": "gtn_jax.models.gtn",
    "create": "gtn_jax.weights.pretrained",
    "predict": "gtn_jax.inference.predict",
    "restore": "gtn_jax.inference.restore",
    "train": "gtn_jax.training.loop",
}
_THERE = {"train": "run"}
"""Public name -> the name in its module, where that is another."""


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'gtn_jax' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), _THERE.get(name, name))


def __dir__() -> list[str]:
    return sorted(__all__)

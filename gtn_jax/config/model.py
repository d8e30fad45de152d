"""`model.*`: architecture and pretrained weights."""

import dataclasses
from typing import Literal

from gtn_jax.config.fields import require, require_kinds, require_least


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Architecture and pretrained weights."""

    backbone: str = "resnet50"
    """A name in `gtn_jax.models.backbones.BACKBONES`; auto: the architecture of `weights`."""
    stages: int | None = None
    """Use only the backbone's first stages; None: all."""
    weights: str | None = None
    """Pretrained backbone: a name in `gtn_jax.weights.registry.WEIGHTS`, a .safetensors file or
    hf:OWNER/NAME."""
    load_heads: bool = False
    """Also load gate and classifiers from `weights`, which must have the same classes."""
    gate: str = "sigmoid"
    """none, half, constant, sigmoid (the paper's), identity or mlp."""
    gate_reduction: int = 16
    """Ratio of pooled features to hidden units of the gate."""
    gate_dropout: float = 0.7
    """Dropout rate of the gate's hidden units."""
    classifier_dropout: float = 0.5
    """Dropout rate of the gated features."""
    classifier_bias: bool = False
    """Whether the classifier has a bias; the paper's has none."""
    aux_weight: float = 0.2
    """Weight of the auxiliary loss; 0: no auxiliary classifier."""
    torch_running_variance: bool = False
    """Keep an unbiased running variance in BatchNorm, as PyTorch does."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the backbone; parameters, gate, heads and loss are float32."""

    def __post_init__(self) -> None:  # noqa: D105
        require_kinds(self, "model.")
        for name in ("gate_dropout", "classifier_dropout"):
            rate = getattr(self, name)
            require(0 <= rate < 1, f"model.{name}", rate, "a rate in [0, 1)")
        require_least(self, "model", 1, "gate_reduction")
        require_least(self, "model", 0, "aux_weight")

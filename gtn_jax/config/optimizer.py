"""`optimizer.*`: SGD, and the rate as a function of the epoch."""

import dataclasses
from typing import Literal

from gtn_jax.fields import require, require_kinds, require_least


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """SGD with momentum; the rate as a function of the epoch."""

    learning_rate: float = 1e-2
    """Peak rate, of the trunk and, times `head_lr_multiplier`, of gate and heads."""
    head_lr_multiplier: float = 1.0
    """Rate of gate and heads relative to the trunk's."""
    momentum: float = 0.9
    weight_decay: float = 1e-4
    """On every parameter, added to the gradient as PyTorch does."""
    l2_sp: float = 0.0
    """Above 0 the trunk's parameters decay towards their start with this strength, and not towards
    0 (L2-SP, arXiv 1802.01483)."""
    schedule: Literal["step", "cosine", "constant"] = "cosine"
    warmup_epochs: float = 0.0
    """Linear rise from 0; cosine only."""
    boundaries_epochs: tuple[int, ...] = (41, 81)
    """Epochs, counted from 0, from which the step schedule is one factor lower."""
    decay_factor: float = 0.1
    """The factor of the step schedule."""

    def __post_init__(self) -> None:  # noqa: D105
        require_kinds(self, "optimizer.")
        require(self.learning_rate > 0, "optimizer.learning_rate", self.learning_rate, "> 0")
        require(
            self.head_lr_multiplier > 0,
            "optimizer.head_lr_multiplier",
            self.head_lr_multiplier,
            "> 0",
        )
        require(0 <= self.momentum < 1, "optimizer.momentum", self.momentum, "a rate in [0, 1)")
        require_least(self, "optimizer", 0, "weight_decay", "l2_sp", "warmup_epochs")
        rising = tuple(sorted(set(self.boundaries_epochs)))
        require(
            rising == self.boundaries_epochs,
            "optimizer.boundaries_epochs",
            self.boundaries_epochs,
            "rising epochs",
        )

"""`optimizer.*`: SGD or AdamW, and learning-rate schedules."""

import dataclasses
from typing import Literal

from gtn_jax.config.fields import require, require_kinds, require_least


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """SGD with momentum or AdamW, and learning-rate schedules."""

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 1e-2
    """Peak learning rate of the backbone."""
    head_learning_rate: float | None = None
    """Peak learning rate of gate and heads; None: `learning_rate`."""
    momentum: float = 0.9
    """Momentum of SGD, or b1 of AdamW (b2 is 0.999)."""
    weight_decay: float = 1e-4
    """Added to the gradient in SGD, as in PyTorch; decoupled in AdamW (arXiv 1711.05101)."""
    decayed: Literal["auto", "all", "kernels"] = "auto"
    """Parameters with weight decay: all, or kernels only, not biases and BatchNorm. "auto": all
    with SGD, kernels with AdamW."""
    l2_sp: float = 0.0
    """Strength of the decay of backbone parameters towards their initial values instead of 0
    (L2-SP, arXiv 1802.01483); 0: off."""
    schedule: Literal["step", "cosine", "constant"] = "cosine"
    warmup_epochs: float = 0.0
    """Epochs of linear warmup from 0; cosine only."""
    warmup_share: float = 0.0
    """Length of the warmup as a fraction of all steps, in place of `warmup_epochs`."""
    full_rate_steps: int = 0
    """Scale the learning rates of a shorter run by sqrt(steps / full_rate_steps); cosine only. 0:
    never."""
    boundaries_epochs: tuple[int, ...] = (41, 81)
    """Epochs, counted from 0, at which the step schedule multiplies the rate by `decay_factor`."""
    decay_factor: float = 0.1
    """Factor of the step schedule."""

    @property
    def rates(self) -> tuple[float, float]:
        """Peak learning rates of (backbone, gate and heads)."""
        head = self.head_learning_rate
        return self.learning_rate, self.learning_rate if head is None else head

    def __post_init__(self) -> None:  # noqa: D105
        require_kinds(self, "optimizer.")
        require(self.learning_rate > 0, "optimizer.learning_rate", self.learning_rate, "> 0")
        head = self.head_learning_rate
        require(head is None or head > 0, "optimizer.head_learning_rate", head, "> 0")
        require(0 <= self.momentum < 1, "optimizer.momentum", self.momentum, "a rate in [0, 1)")
        require_least(
            self, "optimizer", 0, "weight_decay", "l2_sp", "warmup_epochs", "full_rate_steps"
        )
        share = self.warmup_share
        require(0 <= share < 1, "optimizer.warmup_share", share, "a share in [0, 1)")
        cosine = self.schedule == "cosine" and not self.warmup_epochs
        expected = "0, or with the cosine schedule and without optimizer.warmup_epochs"
        require(share == 0 or cosine, "optimizer.warmup_share", share, expected)
        rising = tuple(sorted(set(self.boundaries_epochs)))
        require(
            rising == self.boundaries_epochs,
            "optimizer.boundaries_epochs",
            self.boundaries_epochs,
            "rising epochs",
        )

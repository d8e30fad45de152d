"""`optimizer.*`: SGD or AdamW, and the rates as functions of the step."""

import dataclasses
from typing import Literal

from gtn_jax.config.fields import require, require_kinds, require_least


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """SGD with momentum or AdamW; the rates as functions of the step."""

    name: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 1e-2
    """Peak rate of the backbone."""
    head_learning_rate: float | None = None
    """Peak rate of gate and heads; None: `learning_rate`."""
    momentum: float = 0.9
    """Of SGD; AdamW's first decay rate (its second one is 0.999)."""
    weight_decay: float = 1e-4
    """SGD adds it to the gradient as PyTorch does; AdamW decouples it (arXiv 1711.05101)."""
    decayed: Literal["auto", "all", "kernels"] = "auto"
    """Parameters that decay: all, or kernels and neither biases nor BatchNorm. "auto" is all with
    SGD, kernels with AdamW."""
    l2_sp: float = 0.0
    """Above 0 the backbone's parameters decay towards their start with this strength, and not
    towards 0 (L2-SP, arXiv 1802.01483)."""
    schedule: Literal["step", "cosine", "constant"] = "cosine"
    warmup_epochs: float = 0.0
    """Linear rise from 0; cosine only."""
    warmup_share: float = 0.0
    """The same as a share of all steps."""
    full_rate_steps: int = 0
    """A run of fewer steps takes lower rates, by the square root of its share of these; cosine
    only. 0: no run does."""
    boundaries_epochs: tuple[int, ...] = (41, 81)
    """Epochs, counted from 0, from which the step schedule is one factor lower."""
    decay_factor: float = 0.1
    """The factor of the step schedule."""

    @property
    def rates(self) -> tuple[float, float]:
        """Peaks: of the backbone, of gate and heads."""
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
        wanted = "0, or with the cosine schedule and without optimizer.warmup_epochs"
        require(share == 0 or cosine, "optimizer.warmup_share", share, wanted)
        rising = tuple(sorted(set(self.boundaries_epochs)))
        require(
            rising == self.boundaries_epochs,
            "optimizer.boundaries_epochs",
            self.boundaries_epochs,
            "rising epochs",
        )

"""`training.*`: how long, what is frozen, what is kept."""

import dataclasses
from typing import Literal

from gtn_jax.fields import require, require_kinds, require_least


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How long, what is frozen, what is kept."""

    epochs: int = 100
    freeze_epochs: int = 0
    """The trunk stands still for that many epochs."""
    freeze_mode: Literal["no_grad", "zero_lr"] = "no_grad"
    """no_grad: the trunk's gradient is not computed. zero_lr (the authors'): it is, and fills the
    trunk's momentum while its rate is 0."""
    frozen_batch_norm: Literal["running", "batch"] = "running"
    """Statistics a frozen trunk normalises with; batch (the authors') also moves the running."""
    trainable: Literal["all", "batch_norm"] = "all"
    """What of the trunk learns once it is not frozen: all, or scale and bias of each BatchNorm."""
    label_smoothing: float = 0.0
    """Share of the label that goes to all classes alike, in both losses (arXiv 1512.00567)."""
    mixup_alpha: float = 0.0
    """Above 0, each image is mixed with another of its batch, and so are their labels, by a share
    from Beta(alpha, alpha) (arXiv 1710.09412)."""
    ema_decay: float = 0.0
    """Above 0, a running mean of all weights with this decay is evaluated, selected and kept beside
    them; the decay rises to it, (1 + step) / (10 + step) at first."""
    patience_evaluations: int = 0
    """End after so many evaluations without a better one; 0: train all epochs."""
    accumulation_steps: int = 1
    """Micro-batches that a batch is taken in, for less memory: one update from the mean of their
    gradients. BatchNorm has the statistics of a micro-batch, and moves the running ones in each."""
    rematerialise: Literal["none", "blocks"] = "none"
    """blocks: compute what is inside residual blocks twice instead of keeping it, for less memory;
    the result is the same."""
    select: Literal["val", "last", "test_best"] = "val"
    """Which weights a run ends with: those of the best epoch on validation, of the last epoch, or
    (the authors') of the best epoch on test, whose accuracy then is no estimate of anything."""
    watch_test: bool = False
    """Evaluate and log the test split whenever the one to select on is; it chooses nothing."""
    eval_every_epochs: int = 1
    checkpoint_every_seconds: float = 60.0
    log_every_steps: int = 20

    def __post_init__(self) -> None:  # noqa: D105
        require_kinds(self, "training.")
        require_least(self, "training", 1, "epochs", "eval_every_epochs", "log_every_steps")
        require_least(self, "training", 1, "accumulation_steps")
        require_least(self, "training", 0, "freeze_epochs", "patience_evaluations", "mixup_alpha")
        for name in ("label_smoothing", "ema_decay"):
            require(
                0 <= getattr(self, name) < 1, f"training.{name}", getattr(self, name), "in [0, 1)"
            )
        patience = self.patience_evaluations
        is_watched = self.select != "last" or patience == 0
        require(is_watched, "training.patience_evaluations", patience, "0, as select is last")
        require(
            self.checkpoint_every_seconds > 0,
            "training.checkpoint_every_seconds",
            self.checkpoint_every_seconds,
            "> 0",
        )

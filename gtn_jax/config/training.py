"""`training.*`: how long, what is frozen, what is kept."""

import dataclasses
from typing import Literal

from gtn_jax.config.fields import require, require_kinds, require_least


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """How long, what is frozen, what is kept."""

    epochs: int | Literal["auto"] = 100
    """0 trains nothing: the head is solved. "auto" follows the number of training images
    (docs/training.md), and becomes a number when a run begins."""
    steps: int | None = None
    """In the place of `epochs`, which then only counts; None: as many as `epochs` has."""
    head_start: Literal["random", "solved"] = "random"
    """solved: the classifiers begin at the minimum of their loss on the features that the backbone
    comes with (`head_solver.py`); needs pretrained weights and `model.classifier_bias`."""
    freeze_epochs: int = 0
    """The backbone stands still for that many epochs."""
    freeze_mode: Literal["no_grad", "zero_lr"] = "no_grad"
    """no_grad: the backbone's gradient is not computed. zero_lr (the authors'): it is, and fills
    the backbone's momentum while its rate is 0."""
    frozen_batch_norm: Literal["running", "batch"] = "running"
    """Statistics a frozen backbone normalizes with; batch (the authors') also moves the running."""
    batch_norm: Literal["batch", "running"] = "batch"
    """Statistics that a backbone that moves normalizes with: those of the batch, which move the
    running ones, or the running ones that the weights came with, which then stay."""
    trainable: Literal["all", "batch_norm"] = "all"
    """What of the backbone learns once it is not frozen: all, or scale and bias of each
    BatchNorm."""
    frozen_stages: int = 0
    """The backbone's stem and this many of its first stages never learn; 0: neither does."""
    label_smoothing: float = 0.0
    """Share of the label that goes to all classes alike, in both losses (arXiv 1512.00567)."""
    mixup_alpha: float = 0.0
    """Above 0, each image is mixed with another of its batch, and so are their labels, by a share
    from Beta(alpha, alpha) (arXiv 1710.09412)."""
    ema_decay: float = 0.0
    """Above 0, a running mean of all weights with this decay is evaluated, selected and kept beside
    them; the decay rises to it, (1 + step) / (10 + step) at first."""
    start_share: float = 0.0
    """Above 0, what is evaluated, selected and kept is this share of the weights that a run starts
    with and the rest of the current ones (WiSE-FT, arXiv 2109.01903)."""
    early_stopping_patience: int = 0
    """End after so many evaluations without a better one; 0: train all epochs."""
    accumulation_steps: int = 1
    """Micro-batches that a batch is taken in, for less memory: one update from the mean of their
    gradients. BatchNorm has the statistics of a micro-batch, and moves the running ones in each."""
    remat: Literal["none", "blocks"] = "none"
    """blocks: compute what is inside residual blocks twice instead of keeping it, for less memory;
    the result is the same."""
    select: Literal["val", "last", "test_best"] = "val"
    """Which weights a run ends with: those of the best epoch on validation, of the last epoch, or
    (the authors') of the best epoch on test, whose accuracy then is no estimate of anything."""
    watch_test: bool = False
    """Evaluate and log the test split whenever the one to select on is; it chooses nothing."""
    eval_every_epochs: int = 1
    eval_every_steps: int | None = None
    """In the place of `eval_every_epochs`; None: as that says, or with `epochs` "auto" about five
    times in all."""
    checkpoint_every_seconds: float = 60.0
    log_every_steps: int = 20

    @property
    def epoch_count(self) -> int:
        """`epochs` as a number, which a resolved config has; "auto" is still 0 of them."""
        return 0 if self.epochs == "auto" else self.epochs

    def __post_init__(self) -> None:  # noqa: D105
        require_kinds(self, "training.")
        epochs = self.epochs
        require(epochs == "auto" or epochs >= 0, "training.epochs", epochs, "at least 0, or auto")
        for name in ("steps", "eval_every_steps"):
            found, least = getattr(self, name), int(name != "steps")
            require(found is None or found >= least, f"training.{name}", found, f"at least {least}")
        require_least(self, "training", 1, "eval_every_epochs", "log_every_steps")
        require_least(self, "training", 1, "accumulation_steps")
        require_least(self, "training", 0, "freeze_epochs", "frozen_stages", "mixup_alpha")
        require_least(self, "training", 0, "early_stopping_patience")
        for name in ("label_smoothing", "ema_decay", "start_share"):
            require(
                0 <= getattr(self, name) < 1, f"training.{name}", getattr(self, name), "in [0, 1)"
            )
        share, decay = self.start_share, self.ema_decay
        require(
            share == 0 or decay == 0, "training.start_share", share, f"0, as ema_decay is {decay}"
        )
        patience = self.early_stopping_patience
        is_watched = self.select != "last" or patience == 0
        require(is_watched, "training.early_stopping_patience", patience, "0, as select is last")
        require(
            self.checkpoint_every_seconds > 0,
            "training.checkpoint_every_seconds",
            self.checkpoint_every_seconds,
            "> 0",
        )

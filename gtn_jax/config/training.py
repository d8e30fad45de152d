"""`training.*`: length, freezing, regularization, selection and logging."""

import dataclasses
from typing import Literal

from gtn_jax.config.fields import require, require_kinds, require_least


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Length, freezing, regularization, selection and logging."""

    epochs: int | Literal["auto"] = 100
    """0: only solve the head. "auto": by the number of training images (docs/training.md), resolved
    when a run starts."""
    steps: int | None = None
    """Number of training steps, in place of `epochs`."""
    head_start: Literal["random", "solved"] = "random"
    """solved: initialize the classifiers at the minimum of their loss on the pretrained features
    (`head_solver.py`); needs pretrained weights and `model.classifier_bias`."""
    freeze_epochs: int = 0
    """Number of first epochs in which the backbone is frozen."""
    freeze_mode: Literal["no_grad", "zero_lr"] = "no_grad"
    """no_grad: no backbone gradient is computed. zero_lr (the authors'): it is computed and enters
    the momentum while the learning rate is 0."""
    frozen_batch_norm: Literal["running", "batch"] = "running"
    """BatchNorm statistics of a frozen backbone; batch (the authors') also updates the running
    ones."""
    batch_norm: Literal["batch", "running"] = "batch"
    """BatchNorm statistics of a backbone that trains: of the batch, which also update the running
    ones, or the pretrained running statistics, which stay fixed."""
    trainable: Literal["all", "batch_norm"] = "all"
    """Trainable backbone parameters: all, or scale and bias of BatchNorm."""
    frozen_stages: int = 0
    """Never train the stem and this many first stages of the backbone; 0: train them all."""
    label_smoothing: float = 0.0
    """Probability mass spread evenly over all classes, in both losses (arXiv 1512.00567)."""
    mixup_alpha: float = 0.0
    """Mix pairs of images and their labels with a weight from Beta(alpha, alpha) (mixup, arXiv
    1710.09412); 0: off."""
    ema_decay: float = 0.0
    """Decay of an exponential moving average of the weights, which is evaluated, selected and saved
    in their place; starts as (1 + step) / (10 + step). 0: off."""
    start_share: float = 0.0
    """Evaluate, select and save an interpolation of the weights: this share of the initial ones,
    the rest of the current ones (WiSE-FT, arXiv 2109.01903). 0: off."""
    early_stopping_patience: int = 0
    """Stop after this many evaluations without improvement; 0: never."""
    accumulation_steps: int = 1
    """Micro-batches per batch, to save memory: one update from their mean gradient. BatchNorm uses
    the statistics of each micro-batch."""
    remat: Literal["none", "blocks"] = "none"
    """blocks: recompute the activations inside residual blocks in the backward pass, to save
    memory; results do not change."""
    select: Literal["val", "last", "test_best"] = "val"
    """Weights that a run ends with: of the best validation epoch, of the last epoch, or (the
    authors') of the best test epoch, whose accuracy is then biased."""
    watch_test: bool = False
    """Also evaluate and log the test split at each evaluation; it selects nothing."""
    eval_every_epochs: int = 1
    eval_every_steps: int | None = None
    """In place of `eval_every_epochs`. None: not, or, with `epochs` "auto", about five evaluations
    in total."""
    checkpoint_every_seconds: float = 60.0
    log_every_steps: int = 20

    @property
    def epoch_count(self) -> int:
        """`epochs` as a number; 0 for "auto", which a resolved config no longer has."""
        return 0 if self.epochs == "auto" else self.epochs

    def __post_init__(self) -> None:  # noqa: D105
        require_kinds(self, "training.")
        epochs = self.epochs
        require(epochs == "auto" or epochs >= 0, "training.epochs", epochs, "at least 0, or auto")
        for name in ("steps", "eval_every_steps"):
            value, least = getattr(self, name), int(name != "steps")
            require(value is None or value >= least, f"training.{name}", value, f"at least {least}")
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

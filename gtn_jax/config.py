"""Every knob, as frozen dataclasses that check themselves.

A field says its unit in its name. Defaults live here and nowhere else. Names of backbones, gates
and data sets are checked where they are used, by the table that knows them. Config objects never
enter a Module: builders pass plain arguments.
"""

import dataclasses
from typing import Any, Literal

from gtn_jax.fields import require, require_kinds, require_least


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Which images, and how they reach the model."""

    name: str = "digits"
    """A name in `gtn_jax.data.sources.DATASETS`, with its variant (dtd/1); tfds:NAME; or
    folder:PATH."""
    data_dir: str = "~/.cache/gtn_jax/data"
    """Folder of prepared data sets."""
    image_size: int = 32
    """Side of the square that the model sees, in pixels."""
    resize_size: int | None = None
    """Short side of an image before that square is cut out of it, in pixels; None: image_size."""
    batch_size: int = 64
    """Images a training step, over all devices together."""
    eval_batch_size: int = 256
    """Images an evaluation step, over all devices together."""
    train_images_per_class: int | None = None
    """Train on a seeded choice of this many images of each class; None: on all."""
    validation_fraction: float = 0.1
    """Share of every class's training images that validate where a data set has no such split; the
    seed chooses them."""
    test_fraction: float = 0.2
    """Share of every class that tests where a data set has nothing but training images; the same
    images for every seed."""
    last_batch: Literal["drop", "keep"] = "drop"
    """What happens to an epoch's last, partial batch; "keep" gives it its own statistics."""
    random_resized_crop: bool = False
    """Train on a random 8 to 100 % of an image's area, of aspect 3/4 to 4/3, resized; False: on
    the square that evaluation sees."""
    random_flip: bool = True
    """Mirror every other training image, at random."""
    random_shift_pixels: int = 0
    """Training images move by up to this many pixels in x and y; zeros come in."""
    small_image_size: int = 16
    """Side of the training images in the first `small_image_epochs`, in pixels."""
    small_image_epochs: int = 0
    """Progressive resolution: that many epochs on smaller images first, which are cheaper."""
    cache_views: int = 0
    """While the trunk is frozen, train on the features of that many augmented views of each image,
    computed once: epoch e sees view e mod cache_views. 0: a new view each epoch, computed anew."""
    image_store: Literal["auto", "device", "host", "stream"] = "auto"
    """Where decoded training images are kept: on every device, in the host's memory, or nowhere,
    each batch decoded anew ("stream"); "auto" takes the first that fits, and says why. The numbers
    are the same."""
    bad_images: Literal["error", "skip"] = "error"
    """Unreadable files of a folder: "error" lists them all, "skip" leaves them out and counts."""
    clip_eval: Literal["mean_of_25", "random_frame"] = "mean_of_25"
    """What decides the class of a video: the mean of 25 frames' probabilities, or (the authors')
    one frame at random."""

    def __post_init__(self) -> None:  # noqa: D105
        require_kinds(self, "data.")
        counts = ("image_size", "batch_size", "eval_batch_size", "small_image_size")
        require_least(self, "data", 1, *counts)
        require_least(self, "data", 0, "small_image_epochs", "cache_views")
        short = self.resize_size
        require(
            short is None or short >= self.image_size,
            "data.resize_size",
            short,
            f"at least image_size, {self.image_size} pixels",
        )
        for name in ("validation_fraction", "test_fraction"):
            share = getattr(self, name)
            require(0 <= share < 1, f"data.{name}", share, "a share in [0, 1)")
        count = self.train_images_per_class
        require(count is None or count >= 1, "data.train_images_per_class", count, "at least 1")
        shift = self.random_shift_pixels
        require(0 <= shift < self.image_size, "data.random_shift_pixels", shift, "0 or more")
        require(
            shift == 0 or not self.random_resized_crop,
            "data.random_shift_pixels",
            shift,
            "0, as random_resized_crop moves images already",
        )


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """The network and where its trunk's weights come from."""

    backbone: str = "resnet50"
    """A name in `gtn_jax.models.backbones.BACKBONES`."""
    stages: int | None = None
    """Keep the trunk's first stages only; None: all of them."""
    weights: str | None = None
    """Pretrained trunk: a name in `gtn_jax.weights.registry.WEIGHTS`, a .safetensors file or
    hf:OWNER/NAME."""
    weights_heads: Literal["fresh", "load"] = "fresh"
    """Take gate and classifiers from `weights` too (same classes), or start them anew."""
    gate: str = "sigmoid"
    """none, half, constant, sigmoid (the paper's), identity or mlp."""
    gate_reduction: int = 16
    """Pooled features / hidden units of the gate."""
    gate_hidden_units: int | None = None
    """Hidden units of the gate; None: as `gate_reduction` says."""
    gate_bias: bool = False
    """Whether the gate's first layer has a bias; the paper's has none."""
    gate_dropout: float = 0.7
    """Rate on the gate's hidden units."""
    classifier_dropout: float = 0.5
    """Rate on the gated features."""
    classifier_bias: bool = False
    """Whether the classifier has a bias; the paper's has none."""
    aux_weight: float = 0.2
    """Weight of the auxiliary loss; 0 builds no auxiliary classifier."""
    torch_running_variance: bool = False
    """Keep PyTorch's unbiased running variance in BatchNorm, to follow its runs step by step."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the trunk; parameters, gate, heads and loss are float32."""
    kept_channels: tuple[int, ...] = ()
    """Of the trunk's last map; () has all. `gtn export --keep-channels` chooses them."""

    def __post_init__(self) -> None:  # noqa: D105
        require_kinds(self, "model.")
        for name in ("gate_dropout", "classifier_dropout"):
            rate = getattr(self, name)
            require(0 <= rate < 1, f"model.{name}", rate, "a rate in [0, 1)")
        require_least(self, "model", 1, "gate_reduction")
        hidden = self.gate_hidden_units
        require(hidden is None or hidden >= 1, "model.gate_hidden_units", hidden, "at least 1")
        kept = self.kept_channels
        is_rising = kept == tuple(sorted(set(kept))) and min(kept, default=0) >= 0
        require(is_rising, "model.kept_channels", kept, "rising channels from 0 on")
        require_least(self, "model", 0, "aux_weight")


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
        require_least(self, "training", 0, "freeze_epochs", "patience_evaluations")
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


@dataclasses.dataclass(frozen=True)
class Config:
    """One training run."""

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    seed: int = 0
    """Of the head's start, the choice and order of images, augmentation and dropout."""

    def __post_init__(self) -> None:  # noqa: D105
        require_kinds(self)
        require(0 <= self.seed < 2**32, "seed", self.seed, "0 to 2**32 - 1")
        warmup, kind = self.optimizer.warmup_epochs, self.optimizer.schedule
        require(
            warmup == 0 or (kind == "cosine" and warmup < self.training.epochs),
            "optimizer.warmup_epochs",
            warmup,
            f"0, or with the cosine schedule fewer than the {self.training.epochs} epochs",
        )
        views, training = self.data.cache_views, self.training
        batch, parts = self.data.batch_size, training.accumulation_steps
        divisor = f"a divisor of data.batch_size, {batch}"
        require(batch % parts == 0, "training.accumulation_steps", parts, divisor)
        small = self.data.small_image_epochs
        for fixed, reason in (
            (training.freeze_epochs > 0, "training.freeze_epochs is 0"),
            (training.freeze_mode == "no_grad", "training.freeze_mode is zero_lr"),
            (training.frozen_batch_norm == "running", "training.frozen_batch_norm is batch"),
            (small == 0, f"data.small_image_epochs is {small}"),
        ):
            require(views == 0 or fixed, "data.cache_views", views, f"0, as {reason}")
        require(
            self.model.weights is not None or self.model.weights_heads == "fresh",
            "model.weights_heads",
            self.model.weights_heads,
            "fresh, as there are no model.weights",
        )


def override(config: Config, values: dict[str, Any]) -> Config:
    """A copy of `config` with some fields changed, e.g. `{"model.gate": "none", "seed": 1}`.

    Raises:
        KeyError: a name that is no field (ours to get right: users' names go through the parser).
    """
    # All at once: on the way from one good config to another, single fields can contradict.
    top: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {}
    for dotted, value in values.items():
        section, _, field = dotted.rpartition(".")
        (sections.setdefault(section, {}) if section else top)[field] = value
    for section, fields in sections.items():
        top[section] = dataclasses.replace(getattr(config, section), **fields)
    return dataclasses.replace(config, **top)

"""The config of a run: its sections, constraints between them, and overrides by field name."""

import dataclasses
from typing import Any

from gtn_jax.config.data import DataConfig
from gtn_jax.config.fields import require, require_kinds
from gtn_jax.config.model import ModelConfig
from gtn_jax.config.optimizer import OptimizerConfig
from gtn_jax.config.training import TrainingConfig
from gtn_jax.errors import unknown_name


@dataclasses.dataclass(frozen=True)
class Config:
    """One training run.

    Example:
        >>> from gtn_jax.config import Config, ModelConfig, override
        >>> config = Config(model=ModelConfig(backbone="resnet18", gate="identity"), seed=1)
        >>> override(config, {"optimizer.learning_rate": 2e-3}).optimizer.learning_rate
        0.002
        >>> ModelConfig(gate_dropout=1.5)
        Traceback (most recent call last):
            ...
        ValueError: model.gate_dropout: invalid value 1.5; expected a rate in [0, 1)
    """

    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    seed: int = 0
    """Of head initialization, data splits and order, augmentation and dropout."""

    def __post_init__(self) -> None:  # noqa: D105
        require_kinds(self)
        require(0 <= self.seed < 2**32, "seed", self.seed, "0 to 2**32 - 1")
        warmup, schedule = self.optimizer.warmup_epochs, self.optimizer.schedule
        views, training = self.data.feature_cache_views, self.training
        epochs = training.epochs
        fits = epochs in (0, "auto") or training.steps is not None or warmup < epochs
        require(
            warmup == 0 or (schedule == "cosine" and fits),
            "optimizer.warmup_epochs",
            warmup,
            f"0, or with the cosine schedule fewer than the {epochs} epochs",
        )
        batch, steps = self.data.batch_size, training.accumulation_steps
        divisor = f"a divisor of data.batch_size, {batch}"
        require(batch % steps == 0, "training.accumulation_steps", steps, divisor)
        small = self.data.small_image_epochs
        for is_met, reason in (
            (training.freeze_epochs > 0, "training.freeze_epochs is 0"),
            (training.freeze_mode == "no_grad", "training.freeze_mode is zero_lr"),
            (training.frozen_batch_norm == "running", "training.frozen_batch_norm is batch"),
            (small == 0, f"data.small_image_epochs is {small}"),
            (training.mixup_alpha == 0, f"training.mixup_alpha is {training.mixup_alpha}"),
        ):
            require(views == 0 or is_met, "data.feature_cache_views", views, f"0, as {reason}")
        require(
            self.model.weights is not None or not self.model.load_heads,
            "model.load_heads",
            self.model.load_heads,
            "False, as there are no model.weights",
        )


def field_names() -> list[str]:
    """All fields by dotted name, e.g. "data.batch_size" and "seed"."""
    config, names = Config(), []
    for section in dataclasses.fields(config):
        value = getattr(config, section.name)
        inner = dataclasses.fields(value) if dataclasses.is_dataclass(value) else ()
        names += [f"{section.name}.{field.name}" for field in inner] or [section.name]
    return names


def override(config: Config, values: dict[str, Any]) -> Config:
    """A copy with some fields changed, e.g. `{"model.gate": "none", "seed": 1}`.

    Raises ValueError for an unknown field or an invalid value.
    """
    known = field_names()
    for dotted in values:
        if dotted not in known:
            raise unknown_name("field", dotted, known)
    # All at once: intermediate combinations of valid configs can be invalid.
    top: dict[str, Any] = {}
    sections: dict[str, dict[str, Any]] = {}
    for dotted, value in values.items():
        section, _, field = dotted.rpartition(".")
        (sections.setdefault(section, {}) if section else top)[field] = value
    for section, fields in sections.items():
        top[section] = dataclasses.replace(getattr(config, section), **fields)
    return dataclasses.replace(config, **top)

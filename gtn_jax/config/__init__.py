"""Every knob, as frozen dataclasses that check themselves; a section a file.

A field says its unit in its name. Defaults live here and nowhere else. Names of backbones, gates
and data sets are checked where they are used, by the table that knows them. Config objects never
enter a Module: builders pass plain arguments.
"""

from gtn_jax.config.data import DataConfig
from gtn_jax.config.model import ModelConfig
from gtn_jax.config.optimizer import OptimizerConfig
from gtn_jax.config.run import Config, field_names, override
from gtn_jax.config.training import TrainingConfig

__all__ = [
    "Config", "DataConfig", "ModelConfig", "OptimizerConfig", "TrainingConfig",
    "field_names", "override",
]  # fmt: skip

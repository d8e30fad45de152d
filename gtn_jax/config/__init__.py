"""The configuration: frozen, self-checking dataclasses, one section per file.

Units are part of field names, and defaults are defined only here. Names of backbones, gates and
data sets are checked where they are used. Modules take plain arguments, never configs.
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

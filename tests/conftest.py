"""A hostile JAX for every test: four devices, no implicit dtypes or ranks; and small fixtures."""

import jax
import pytest

# Before anything touches a device. More devices than cores is the point: what depends on the
# number of devices shows.
jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 4)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

from gtn_jax.config import (  # noqa: E402
    Config,
    DataConfig,
    ModelConfig,
    OptimizerConfig,
    TrainingConfig,
)
from gtn_jax.models.resnet import BACKBONES, ResNetShape  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def tiny_backbone():
    """A two-stage trunk, 16 features wide, that compiles in a second: "tiny"."""
    BACKBONES["tiny"] = ResNetShape("basic", (1, 1), width=8, stem="small", stem_stride=2)
    yield "tiny"
    del BACKBONES["tiny"]


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> str:
    """Prepared digits, shared by all tests."""
    from gtn_jax.data.sources import prepare

    folder = str(tmp_path_factory.mktemp("data"))
    prepare("digits", folder)
    return folder


@pytest.fixture
def tiny_config(data_dir) -> Config:
    """40 digits, 5 steps an epoch, 4 epochs of which 1 is frozen; everything random is on."""
    return Config(
        data=DataConfig(
            data_dir=data_dir,
            image_size=16,
            batch_size=8,
            train_images_per_class=4,
            random_shift_pixels=1,
        ),
        model=ModelConfig(backbone="tiny", gate_reduction=4),
        optimizer=OptimizerConfig(learning_rate=0.05),
        training=TrainingConfig(
            epochs=4, freeze_epochs=1, log_every_steps=1, checkpoint_every_seconds=1e-3
        ),
    )

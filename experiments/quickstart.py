"""One GTN on 20 handwritten digits a class, from the backbone that ships with the package.

    gtn train quickstart --workdir runs/first    this run
    gtn quickstart                               this against fine-tuning and an identity gate

It is the recipe of docs/training.md but for two of its parts: digits are far from the pictures that
the backbone knows, so all of it learns, and nothing of its start is kept in what is evaluated.

TUNING
"""

from gtn_jax.config import Config, DataConfig, ModelConfig, TrainingConfig, override
from gtn_jax.presets import clean

CONFIG = override(
    clean(
        Config(
            data=DataConfig(
                name="digits",
                image_size=32,
                batch_size=24,  # divides over 1, 2, 4 and 8 devices
                eval_batch_size=100,
                train_images_per_class=20,
                random_shift_pixels=2,
            ),
            model=ModelConfig(
                backbone="resnet8_wide", weights="tiny_imagenet", gate="sigmoid", aux_weight=0.2
            ),
            training=TrainingConfig(checkpoint_every_seconds=10, log_every_steps=4),
        )
    ),
    {
        "data.random_flip": False,
        "optimizer.learning_rate": 1e-3,
        "training.frozen_stages": 0,
        "training.start_share": 0.0,
    },
)

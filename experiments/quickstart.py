"""One GTN on 20 handwritten digits a class, from the backbone that ships with the package."""

from gtn_jax.config import Config, DataConfig, ModelConfig, OptimizerConfig, TrainingConfig

CONFIG = Config(
    data=DataConfig(
        name="digits",
        image_size=32,
        batch_size=24,  # divides over 1, 2, 4 and 8 devices
        eval_batch_size=100,
        train_images_per_class=20,
        random_flip=False,
        random_shift_pixels=2,
    ),
    model=ModelConfig(
        backbone="resnet8_wide", weights="tiny_imagenet", gate="sigmoid", aux_weight=0.2
    ),
    optimizer=OptimizerConfig(learning_rate=0.05, schedule="cosine"),
    training=TrainingConfig(
        epochs=16,
        freeze_epochs=4,
        eval_every_epochs=4,
        checkpoint_every_seconds=10,
        log_every_steps=4,
    ),
)

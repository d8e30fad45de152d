"""A GTN on 20 handwritten digits per class, from the shipped backbone.

    gtn train quickstart --workdir runs/first    this run
    gtn quickstart                               comparison with fine-tuning and an identity gate

The recipe of docs/training.md with two changes, as digits differ from the pretraining images: all
stages are trainable, and the evaluated weights are not averaged with the initial ones.

The rates of `gtn quickstart` are the best of quickstart_tuning.jsonl, which this command wrote on
two CPU cores (seed 1000; without test images; last digits depend on the machine):

    gtn compare quickstart --methods finetune gtn gtn_identity --trials 1 --seeds 1 \
        --workdir runs/tuning

Validation accuracy in percent at the best of twelve pairs of rates (backbone; gate and classifiers)
per method, and at 0.001 for both:

                   best        rates     one rate
    finetune       97.0   0.001, 0.00046     96.0
    gtn            96.7   0.001, 0.00046     95.7
    gtn_identity   95.3   0.001, 0.022       94.0
"""

from gtn_jax.config import Config, DataConfig, ModelConfig, TrainingConfig, override
from gtn_jax.config.presets import clean

CONFIG = override(
    clean(
        Config(
            data=DataConfig(
                name="digits",
                image_size=32,
                batch_size=24,  # divisible by 1, 2, 4 and 8 devices
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
        "optimizer.head_learning_rate": 4.6e-4,
        "training.frozen_stages": 0,
        "training.start_share": 0.0,
    },
)

"""One GTN on 20 handwritten digits a class, from the backbone that ships with the package.

    gtn train quickstart --workdir runs/first    this run
    gtn quickstart                               this against fine-tuning and an identity gate

It is the recipe of docs/training.md but for two of its parts: digits are far from the pictures that
the backbone knows, so all of it learns, and nothing of its start is kept in what is evaluated.

The rates of `gtn quickstart` are the best of quickstart_tuning.jsonl, beside this file, which is
what this command wrote on two CPU cores (seed 1000; test images did not enter; another machine
rounds differently, and gives other last digits):

    gtn compare quickstart --methods finetune gtn gtn_identity --trials 1 --seeds 1 \
        --workdir runs/tuning

Twelve pairs of rates a method, of backbone and of gate and classifiers; validation accuracy in
percent at the best of them, and at one rate of 0.001 for both:

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
        "optimizer.head_learning_rate": 4.6e-4,
        "training.frozen_stages": 0,
        "training.start_share": 0.0,
    },
)

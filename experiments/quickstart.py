"""One GTN on 20 handwritten digits a class, from the backbone that ships with the package.

    gtn train quickstart --workdir runs/first    this run
    gtn quickstart                               this against fine-tuning and an identity gate

The rates of `gtn quickstart` are the best of quickstart_tuning.jsonl, beside this file, which is
what this command wrote on two CPU cores (seeds 1000 and 1001; test images did not enter; another
machine rounds differently, and gives other last digits) when a method had one rate, for backbone
and head, of which seven were tried:

    gtn compare quickstart --methods finetune gtn gtn_identity --trials 2 --workdir runs/tuning

Mean validation accuracy in percent, by rate:

    rate           0.01  0.022  0.046    0.1   0.22   0.46    1.0
    finetune       95.2   96.8   97.5   95.3   84.3   72.8   45.2
    gtn            91.0   95.0   96.7   97.5   96.8   90.3   62.2
    gtn_identity   94.8   96.7   97.3   96.2   90.2   45.7   22.5

The sigmoid gate wants about twice the rate of the other two: it starts by halving the features.
"""

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
    optimizer=OptimizerConfig(learning_rate=0.1, schedule="cosine"),
    training=TrainingConfig(
        epochs=16,
        freeze_epochs=4,
        eval_every_epochs=4,
        checkpoint_every_seconds=10,
        log_every_steps=4,
    ),
)

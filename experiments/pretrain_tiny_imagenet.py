"""Pretraining of the shipped small backbone, from scratch on Tiny-ImageNet.

    gtn prepare tiny_imagenet --source tiny_imagenet_32_jpeg.npz
    gtn train pretrain_tiny_imagenet --workdir runs/pretrain
    gtn convert runs/pretrain tiny_imagenet.safetensors --precision float16

Result: 32.9 % top-1, 59.3 % top-5 on the 10,000 validation images; 68 minutes of training on two
shared CPU cores. Recipe, learning curve, license of the data and further steps are in
gtn_jax/weights/assets/tiny_imagenet.md.
"""

from gtn_jax.config import Config, DataConfig, ModelConfig, OptimizerConfig, TrainingConfig

CONFIG = Config(
    data=DataConfig(
        name="tiny_imagenet",
        image_size=32,
        batch_size=64,
        random_flip=True,
        random_shift_pixels=2,
        small_image_size=24,
        small_image_epochs=8,
    ),
    model=ModelConfig(
        backbone="resnet8_wide",
        gate="none",
        classifier_dropout=0.0,
        classifier_bias=True,
        aux_weight=0.0,
    ),
    optimizer=OptimizerConfig(
        learning_rate=0.05, momentum=0.9, weight_decay=5e-4, schedule="cosine", warmup_epochs=1
    ),
    training=TrainingConfig(
        epochs=13, select="last", checkpoint_every_seconds=60, log_every_steps=100
    ),
)

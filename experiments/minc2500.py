"""MINC-2500, 23 materials: material recognition, a task of the paper.

Split 1 of 5, the authors' one: 48,875 images train, 2,875 validate and 5,750 test. Short side 256,
random crops of 224 in training, the center in the test. Other splits: prepare minc2500/2 and add
--data.name minc2500/2.

    gtn prepare minc2500/1 --source minc-2500.tar.gz
    gtn train minc2500 --preset official --workdir runs/minc2500-official
    gtn train minc2500 --preset clean --workdir runs/minc2500

`official` is the authors' recipe: 100 epochs in steps of the rate, 21 of them with the backbone at
rate 0, and the best epoch on the test images.
`clean`, the default, trains by the recipe of docs/training.md and selects on MINC's own validation
images; the test images are looked at once, at the end.

Not run here: the photographs are not at hand. docs/fidelity.md says what differs from the authors'.
"""

from gtn_jax.config import Config, DataConfig, ModelConfig
from gtn_jax.config.presets import clean

CONFIG = clean(
    Config(
        data=DataConfig(
            name="minc2500/1",
            image_size=224,
            resize_size=256,
            batch_size=64,
            random_resized_crop=True,
            random_flip=True,
        ),
        model=ModelConfig(
            backbone="resnet50", weights="hf:timm/resnet50.tv_in1k", gate="sigmoid", aux_weight=0.2
        ),
    )
)

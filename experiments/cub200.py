"""CUB-200-2011, 200 species of birds: fine-grained classification, a task of the paper.

5,994 images train and 5,794 test, as train_test_split.txt says; whole images, no bounding boxes.
Short side 256, random crops of 224 in training, the center in the test.

    gtn prepare cub200 --source CUB_200_2011.tgz
    gtn train cub200 --preset official --workdir runs/cub200-official
    gtn train cub200 --preset clean --workdir runs/cub200

`official` is the authors' recipe: 100 epochs in steps of the rate, 21 of them with the backbone at
rate 0, and the best epoch on the test images.
`clean`, the default, trains by the recipe of docs/training.md and validates on a tenth of every
class's training images; the test images are looked at once, at the end.

Not run here: the photographs are not at hand. docs/fidelity.md says what differs from the authors'.
"""

from gtn_jax.config import Config, DataConfig, ModelConfig
from gtn_jax.config.presets import clean

CONFIG = clean(
    Config(
        data=DataConfig(
            name="cub200",
            image_size=224,
            resize_size=256,
            batch_size=64,
            random_resized_crop=True,
            random_flip=True,
            validation_fraction=0.1,
        ),
        model=ModelConfig(
            backbone="resnet50", weights="hf:timm/resnet50.tv_in1k", gate="sigmoid", aux_weight=0.2
        ),
    )
)

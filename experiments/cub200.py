"""CUB-200-2011, 200 species of birds: fine-grained classification, a task of the paper.

5,994 training and 5,794 test images by train_test_split.txt; whole images, no bounding boxes.
Short side 256, random crops of 224 for training, center crops for test.

    gtn prepare cub200 --source CUB_200_2011.tgz
    gtn train cub200 --preset official --workdir runs/cub200-official
    gtn train cub200 --preset clean --workdir runs/cub200

`official` is the authors' recipe: 100 epochs with a step schedule, the first 21 with backbone
rate 0, and selection of the best epoch on test images.
`clean`, the default, is the recipe of docs/training.md with a tenth of each class's training images
for validation; test images are evaluated once, at the end.

Not run here, as the images were not available; docs/fidelity.md lists deviations from the authors.
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

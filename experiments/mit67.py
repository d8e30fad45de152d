"""MIT67, 67 indoor scenes: scene recognition, a task of the paper.

5,360 training and 1,340 test images by TrainImages.txt and TestImages.txt. Short side 256, random
crops of 224 for training, center crops for test.

    gtn prepare mit67 --source FOLDER    # with Images/, TrainImages.txt and TestImages.txt
    gtn train mit67 --preset official --workdir runs/mit67-official
    gtn train mit67 --preset clean --workdir runs/mit67

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
            name="mit67",
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

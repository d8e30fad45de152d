"""MIT67, 67 indoor scenes: scene recognition, a task of the paper.

5,360 images train and 1,340 test, as TrainImages.txt and TestImages.txt say. Short side 256, random
crops of 224 in training, the center in the test.

    gtn prepare mit67 --source FOLDER    # with Images/, TrainImages.txt and TestImages.txt
    gtn train mit67 --preset official --workdir runs/mit67-official
    gtn train mit67 --preset clean --workdir runs/mit67

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

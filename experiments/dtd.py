"""DTD, 47 describable textures: texture recognition, a task of the paper.

Split 1 of 10: 1,880 images each for training, validation and test. Short side 256, random crops of
224 for training, center crops for test. Other splits: prepare dtd/2 and add --data.name dtd/2.

    gtn prepare dtd/1 --source dtd-r1.0.1.tar.gz
    gtn train dtd --preset official --workdir runs/dtd-official
    gtn train dtd --preset clean --workdir runs/dtd

`official` is the authors' recipe: 100 epochs with a step schedule, the first 21 with backbone
rate 0, and selection of the best epoch on test images.
`clean`, the default, is the recipe of docs/training.md with selection on DTD's validation images;
test images are evaluated once, at the end. The authors' code reads folders train/ and test/ that
users make themselves; here no preset trains on DTD's validation images.

Not run here, as the images were not available; docs/fidelity.md lists deviations from the authors.
"""

from gtn_jax.config import Config, DataConfig, ModelConfig
from gtn_jax.config.presets import clean

CONFIG = clean(
    Config(
        data=DataConfig(
            name="dtd/1",
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

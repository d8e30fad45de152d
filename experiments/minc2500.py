"""MINC-2500, 23 materials: material recognition, a task of the paper.

Split 1 of 5, as the authors: 48,875 training, 2,875 validation and 5,750 test images. Short side
256, random crops of 224 for training, center crops for test. Other splits: prepare minc2500/2 and
add --data.name minc2500/2.

    gtn prepare minc2500/1 --source minc-2500.tar.gz
    gtn train minc2500 --preset official --workdir runs/minc2500-official
    gtn train minc2500 --preset clean --workdir runs/minc2500

`official` is the authors' recipe: 100 epochs with a step schedule, the first 21 with backbone
rate 0, and selection of the best epoch on test images.
`clean`, the default, is the recipe of docs/training.md with selection on MINC's validation images;
test images are evaluated once, at the end.

Not run here, as the images were not available; docs/fidelity.md lists deviations from the authors.
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

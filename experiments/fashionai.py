"""FashionAI, collar designs in photographs of clothes: attributes, a task of the paper.

One attribute at a time, as the authors do: collar_design, their default, has 5 classes; the label
is the position of 'y', 'm' is ignored. The first 80 % of the attribute's rows in
Annotations/label.csv are for training, the rest for test. Short side 256, random crops of 224 for
training, center crops for test. Other attributes: prepare e.g. fashionai/skirt_length and add
--data.name fashionai/skirt_length.

    gtn prepare fashionai/collar_design --source FOLDER    # with Images/ and Annotations/label.csv
    gtn train fashionai --preset official --workdir runs/fashionai-official
    gtn train fashionai --preset clean --workdir runs/fashionai

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
            name="fashionai/collar_design",
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

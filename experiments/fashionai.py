"""FashionAI, collar designs in photographs of clothes: attributes, a task of the paper.

One attribute at a time, as the authors do: collar_design, their default, has 5 classes; the label
is the position of 'y', an 'm' counts for nothing. The first 80 % of the attribute's rows of
Annotations/label.csv train and the rest test, in the file's order. Short side 256, random crops of
224 in training, the center in the test. Other attributes: prepare fashionai/skirt_length and add
--data.name fashionai/skirt_length.

    gtn prepare fashionai/collar_design --source FOLDER    # with Images/ and Annotations/label.csv
    gtn train fashionai --preset official --workdir runs/fashionai-official
    gtn train fashionai --preset clean --workdir runs/fashionai

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

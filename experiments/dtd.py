"""DTD, 47 describable textures: texture recognition, a task of the paper.

Split 1 of 10: 1,880 images each to train, validate and test. Short side 256, random crops of 224 in
training, the center in the test. Other splits: prepare dtd/2 and add --data.name dtd/2.

    gtn prepare dtd/1 --source dtd-r1.0.1.tar.gz
    gtn train dtd --preset official --workdir runs/dtd-official
    gtn train dtd --preset clean --workdir runs/dtd

`official` is the authors' recipe: 100 epochs in steps of the rate, 21 of them with the backbone at
rate 0, and the best epoch on the test images.
`clean`, the default, trains by the recipe of docs/training.md and selects on DTD's own validation
images; the test images are looked at once, at the end.
The authors read folders train/ and test/ that everyone made alone; here DTD's validation images are
never trained on, under either preset.

Not run here: the photographs of all 47 classes are not at hand. docs/fidelity.md says what differs
from the authors'.
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

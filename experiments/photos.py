"""Your own photographs: a folder with one folder per class, or train/, val/ and test/ of those.

    gtn check-data PATH
    gtn train photos --data.name folder:PATH --workdir runs/photos

docs/photos.md describes layouts and unreadable files. Without val/ and test/ a fraction of each
class is held out (data.validation_fraction, data.test_fraction). `gtn fit PATH` selects the model
and recipe by itself.

The recipe is that of docs/training.md: solved classifiers, then fine-tuning. No gate and no
auxiliary classifier: on two data sets (five paired runs, results there) the identity gate was not
better beyond chance, and neither was the paper's. The backbone is that of `model.weights`; with few
images on a CPU use a smaller one: --model.weights hf:timm/resnet18.tv_in1k --data.image_size 112
--data.resize_size 128.
"""

from gtn_jax.config import Config, DataConfig, ModelConfig
from gtn_jax.config.presets import clean

CONFIG = clean(
    Config(
        data=DataConfig(
            name="folder:",  # set by --data.name folder:PATH
            image_size=224,
            resize_size=256,
            batch_size=32,
            eval_batch_size=64,
            random_resized_crop=True,
        ),
        model=ModelConfig(
            backbone="auto", weights="hf:timm/resnet50.tv_in1k", gate="none", aux_weight=0.0
        ),
    )
)

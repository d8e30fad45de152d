"""Your own photographs: a folder with one folder a class, or train/, val/ and test/ of those.

    gtn check-data PATH                                                 first: what is wrong with it
    gtn train photos --data.name folder:PATH --workdir runs/photos

docs/photos.md has the layouts and what becomes of odd files. Without val/ and test/ a share of each
class is held out (data.validation_fraction, data.test_fraction).

The recipe is that of docs/training.md: classifiers that are solved first, then fine-tuning. No gate
and no auxiliary classifier: on two data sets (five paired runs, figures there) the identity gate
was not better beyond chance, and the paper's was not either. Backbone and stages are those of
`model.weights`; few images on a CPU want a smaller one: --model.weights hf:timm/resnet18.tv_in1k
--data.image_size 112 --data.resize_size 128.
`gtn fit PATH` chooses such things by itself.
"""

from gtn_jax.config import Config, DataConfig, ModelConfig
from gtn_jax.config.presets import clean

CONFIG = clean(
    Config(
        data=DataConfig(
            name="folder:",  # yours: --data.name folder:PATH
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

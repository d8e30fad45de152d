"""Your own photographs: a folder with one folder a class, or train/, val/ and test/ of those.

    gtn check-data PATH                                                 first: what is wrong with it
    gtn train photos --data.name folder:PATH --workdir runs/photos

docs/photos.md has the layouts and what becomes of odd files. Without val/ and test/ a share of each
class is held out (data.validation_fraction, data.test_fraction).

The recipe is a starting point that nobody has tuned: an ImageNet ResNet-50, 30 epochs of which the
first 5 train gate and heads only, cosine rate. On real photographs it has run only with a smaller
network (docs/first_photos.md). Few images want fewer parameters: try --model.backbone resnet18
--model.weights hf:timm/resnet18.tv_in1k. How large the rate should be depends on the data:
`gtn compare my_photos.py`, on a copy of this file with your folder in it, tunes it for each method.
"""

from gtn_jax.config import Config, DataConfig, ModelConfig
from gtn_jax.presets import clean

CONFIG = clean(
    Config(
        data=DataConfig(
            name="folder:",  # yours: --data.name folder:PATH
            image_size=224,
            resize_size=256,
            batch_size=32,
            eval_batch_size=64,
            random_resized_crop=True,
            random_flip=True,
        ),
        model=ModelConfig(
            backbone="resnet50", weights="hf:timm/resnet50.tv_in1k", gate="sigmoid", aux_weight=0.2
        ),
    )
)

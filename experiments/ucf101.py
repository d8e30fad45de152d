"""UCF101, 101 human actions in videos: recognition from single frames, a task of the paper.

Split 1 of 3, the authors' one: 9,537 clips train and 3,783 test, stored as 25 evenly spaced frames
each. An epoch is one random frame of every clip: short side 256, random crop of 224. Reading .avi
needs PyAV (pip install 'gtn_jax[video]'); frames extracted already need nothing. 333,000 frames are
kept without loss: expect some tens of GB.

    gtn prepare ucf101/1 --source UCF-101    # the folder; ucfTrainTestlist/ in it or beside it
    gtn train ucf101 --preset official --workdir runs/ucf101-official
    gtn train ucf101 --preset clean --workdir runs/ucf101

`official` is the authors' recipe: 100 epochs in steps of the rate, 21 of them with the backbone at
rate 0, and the best epoch on the test images, where one random frame decides the class of a clip.
`clean`, the default, trains by the recipe of docs/training.md and validates on a tenth of every
class's training clips; the mean over 25 frames decides. Either reports all three: clip_accuracy
(that mean), frame_accuracy (all frames) and random_frame_accuracy (one a clip).

Not run here: the videos are not at hand. docs/fidelity.md says what differs from the authors'.
"""

from gtn_jax.config import Config, DataConfig, ModelConfig
from gtn_jax.config.presets import clean

CONFIG = clean(
    Config(
        data=DataConfig(
            name="ucf101/1",
            image_size=224,
            resize_size=256,
            batch_size=64,
            random_resized_crop=True,
            random_flip=True,
            validation_fraction=0.1,
            video_eval="mean_of_25",
        ),
        model=ModelConfig(
            backbone="resnet50", weights="hf:timm/resnet50.tv_in1k", gate="sigmoid", aux_weight=0.2
        ),
    )
)

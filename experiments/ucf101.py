"""UCF101, 101 human actions in videos: recognition from single frames, a task of the paper.

Split 1 of 3, as the authors: 9,537 training and 3,783 test clips, stored as 25 evenly spaced frames
each. An epoch uses one random frame of every clip: short side 256, random crop of 224. Reading .avi
needs PyAV (pip install 'gtn_jax[video]'); extracted frames do not. 333,000 frames are stored
losslessly, in tens of GB.

    gtn prepare ucf101/1 --source UCF-101    # the folder; ucfTrainTestlist/ in it or beside it
    gtn train ucf101 --preset official --workdir runs/ucf101-official
    gtn train ucf101 --preset clean --workdir runs/ucf101

`official` is the authors' recipe: 100 epochs with a step schedule, the first 21 with backbone
rate 0, and selection of the best epoch on test images,
where the prediction for a clip is that for one random frame.
`clean`, the default, is the recipe of docs/training.md with a tenth of each class's training clips
for validation; predictions are averaged over 25 frames. Both report clip_accuracy (that average),
frame_accuracy (all frames) and random_frame_accuracy (one per clip).

Not run here, as the videos were not available; docs/fidelity.md lists deviations from the authors.
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

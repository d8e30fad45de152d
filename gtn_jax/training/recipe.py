"""The recipe of `gtn fit`: backbone, image size and time budget, by device and number of images.

On an accelerator, a ResNet-50 at its pretraining size. That takes hours on two cores, so on a CPU
it is a ResNet-18 on a quarter of the pixels. The user's weights determine the backbone; one with a
stem for small images gets small images.
"""

from typing import NamedTuple

from gtn_jax.config import Config, override
from gtn_jax.models.backbones import BACKBONES, ResNetShape
from gtn_jax.weights.recognize import backbone_of

ACCELERATOR_WEIGHTS, CPU_WEIGHTS = "hf:timm/resnet50.tv_in1k", "hf:timm/resnet18.tv_in1k"
CPU_IMAGES, CPU_MINUTES = 2_000, 30.0
"""On a CPU, more training images than this get a budget of CPU_MINUTES by default."""
_SIZES = {"accelerator": (224, 256), "cpu": (112, 128), "small": (32, 36)}
"""(`data.image_size`, `data.resize_size`)."""


class Recipe(NamedTuple):
    """Config of a run, and its time budget in minutes; None: no limit."""

    config: Config
    budget_minutes: float | None


def choose(
    config: Config,
    images: int,
    is_accelerator: bool,
    weights: str | None = None,
    budget_minutes: float | None = None,
) -> Recipe:
    """The recipe for a number of training images on this device.

    Args:
        config: everything else, e.g. of the experiment `photos`.
        images: number of training images.
        is_accelerator: whether the device is one.
        weights: as in `registry.resolve`; None: by device.
        budget_minutes: of the whole command; None: by device.

    Raises:
        ValueError: see `backbone_of`.
    """
    weights = weights or (ACCELERATOR_WEIGHTS if is_accelerator else CPU_WEIGHTS)
    found = backbone_of(weights)
    shape = BACKBONES[found.backbone]
    is_small = isinstance(shape, ResNetShape) and shape.stem == "small"
    kind = "small" if is_small else "accelerator" if is_accelerator else "cpu"
    size, short_side = _SIZES[kind]
    if budget_minutes is None and kind == "cpu" and images > CPU_IMAGES:
        budget_minutes = CPU_MINUTES
    values = {
        "model.weights": weights, "model.backbone": found.backbone, "model.stages": found.stages,
        "data.image_size": size, "data.resize_size": short_side, "data.bad_images": "skip",
    }  # fmt: skip
    return Recipe(override(config, values), budget_minutes)

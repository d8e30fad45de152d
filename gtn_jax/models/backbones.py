"""Backbones by name; to add one: docs/extending.md."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn
import jax.numpy as jnp

from gtn_jax.errors import unknown_name
from gtn_jax.models.resnet import BLOCKS, ResNet


class ResNetShape(NamedTuple):
    """One row of `BACKBONES`; fields as in `ResNet`."""

    block: Literal["basic", "bottleneck"]
    blocks_per_stage: tuple[int, ...]
    width: int = 64
    stem: Literal["imagenet", "small"] = "imagenet"
    stem_stride: int = 1
    shortcut: Literal["projection", "pad"] = "projection"

    @property
    def features(self) -> int:
        """Channels of the last feature map."""
        stages = len(self.blocks_per_stage)
        return self.width * 2 ** (stages - 1) * BLOCKS[self.block].expansion


def _cifar(depth: int) -> ResNetShape:
    blocks = (depth - 2) // 6
    return ResNetShape("basic", (blocks,) * 3, width=16, stem="small", shortcut="pad")


BackboneBuilder = Callable[[int | None, Any, str | None], nn.Module]
"""(stages to keep or None, compute dtype, module name) -> a module with `ResNet`'s `__call__`:
(images B H W 3, use_running_average) -> one feature map B H W C per stage, in order."""

BACKBONES: dict[str, ResNetShape | BackboneBuilder] = {
    "resnet18": ResNetShape("basic", (2, 2, 2, 2)),
    "resnet34": ResNetShape("basic", (3, 4, 6, 3)),
    "resnet50": ResNetShape("bottleneck", (3, 4, 6, 3)),
    "resnet101": ResNetShape("bottleneck", (3, 4, 23, 3)),
    "resnet152": ResNetShape("bottleneck", (3, 8, 36, 3)),
    **{f"resnet{depth}": _cifar(depth) for depth in (20, 32, 44, 56, 110)},
    "resnet8_wide": ResNetShape("basic", (1, 1, 1), width=64, stem="small", stem_stride=2),
}
"""The first five are torchvision's, those of depth 6n + 2 the CIFAR family of arXiv 1512.03385,
section 4.2. resnet8_wide is for training on CPUs: few, wide layers on a quarter of the pixels.
Entries may be added."""


def build_backbone(
    name: str,
    stages: int | None = None,
    dtype: Any = jnp.float32,
    module_name: str | None = None,
    torch_running_variance: bool = False,
    remat: bool = False,
) -> nn.Module:
    """Build the first `stages` stages of a backbone (None: all).

    Args:
        name: in `BACKBONES`.
        stages: number of stages to keep.
        dtype: compute dtype.
        module_name: of the submodule, inside another module.
        torch_running_variance: see `BatchNorm`; a `BackboneBuilder` does not get it.
        remat: see `ResNet`.

    Raises:
        ValueError: unknown name, more stages than there are, or `remat` with a `BackboneBuilder`.
    """
    if name not in BACKBONES:
        raise unknown_name("backbone", name, BACKBONES)
    shape = BACKBONES[name]
    if not isinstance(shape, ResNetShape):
        if remat:
            raise ValueError(
                f"training.remat: {name} is no ResNet of this package; set it to none, "
                "and use flax.linen.remat inside that backbone"
            )
        return shape(stages, dtype, module_name)
    available = len(shape.blocks_per_stage)
    if stages is not None and not 1 <= stages <= available:
        raise ValueError(f"model.stages: {name} has {available} stages, {stages} asked for")
    shape = shape._replace(blocks_per_stage=shape.blocks_per_stage[:stages])
    return ResNet(
        **shape._asdict(),
        torch_running_variance=torch_running_variance,
        remat=remat,
        dtype=dtype,
        name=module_name,
    )

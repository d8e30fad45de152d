"""Backbones by name: a table of ResNets, open for others (docs/extending.md).

Depths 18 to 152 are torchvision's, 20 to 110 (of the form 6n+2) the CIFAR family of arXiv
1512.03385, section 4.2. What they are made of is resnet.py's.
"""

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
        """Channels of the last map."""
        stages = len(self.blocks_per_stage)
        return self.width * 2 ** (stages - 1) * BLOCKS[self.block].expansion


def _cifar(depth: int) -> ResNetShape:
    blocks = (depth - 2) // 6
    return ResNetShape("basic", (blocks,) * 3, width=16, stem="small", shortcut="pad")


BackboneBuilder = Callable[[int | None, Any, str | None], nn.Module]
"""(stages to keep or None, compute dtype, module name) -> a module that is called as `ResNet` is:
(images B H W 3, use_running_average) -> one map B H' W' C' a stage, the last one last."""

BACKBONES: dict[str, ResNetShape | BackboneBuilder] = {
    "resnet18": ResNetShape("basic", (2, 2, 2, 2)),
    "resnet34": ResNetShape("basic", (3, 4, 6, 3)),
    "resnet50": ResNetShape("bottleneck", (3, 4, 6, 3)),
    "resnet101": ResNetShape("bottleneck", (3, 4, 23, 3)),
    "resnet152": ResNetShape("bottleneck", (3, 8, 36, 3)),
    **{f"resnet{depth}": _cifar(depth) for depth in (20, 32, 44, 56, 110)},
    "resnet8_wide": ResNetShape("basic", (1, 1, 1), width=64, stem="small", stem_stride=2),
}
"""Name -> shape. 18 to 152 are torchvision's, 20 to 110 (of the form 6n+2) the CIFAR family;
resnet8_wide is ours, few and wide layers on a quarter of the pixels, for training on CPUs.
Open: entries may be added, also functions that build another backbone (docs/extending.md)."""


def build_backbone(
    name: str,
    stages: int | None = None,
    dtype: Any = jnp.float32,
    module_name: str | None = None,
    torch_running_variance: bool = False,
    remat: bool = False,
) -> nn.Module:
    """The backbone called `name`, cut off after `stages` stages (None: all).

    Args:
        name: in `BACKBONES`.
        stages: how many to keep.
        dtype: compute dtype.
        module_name: of the module, inside another one.
        torch_running_variance: see `BatchNorm`; a backbone of another builder does not know it.
        remat: see `ResNet`.

    Raises:
        ValueError: unknown name, more stages than there are, or `remat` and a backbone of
            another builder, whose blocks are not known here.
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

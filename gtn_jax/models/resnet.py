"""Residual networks: one class for torchvision's ResNet-18 to -152 and the CIFAR family.

"Deep Residual Learning for Image Recognition" (arXiv 1512.03385), in torchvision's version
(https://github.com/pytorch/vision/blob/main/torchvision/models/resnet.py: the stride is on the
3x3 convolution) and, for 20 to 110 layers, as in section 4.2 (small stem, zero-padded shortcuts).
Modules have torchvision's names, so weights map almost one to one.
"""

import functools
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Float

from gtn_jax.arrays import Array
from gtn_jax.models.layers import BatchNorm, Conv

Maps = Float[Array, "B H W C"]
Convolved = Float[Array, "B H_out W_out C_out"]
"""H_out and W_out are H / stride and W / stride, rounded up."""
Norm = Callable[..., nn.Module]
"""`BatchNorm` with all fields but its name bound."""


class ProjectionShortcut(nn.Module):
    """1x1 convolution and BatchNorm, torchvision's `downsample.0` and `downsample.1`."""

    features: int
    stride: int
    norm: Norm
    dtype: Any

    @nn.compact
    def __call__(self, x: Maps) -> Convolved:
        """C_out is `features`."""
        x = Conv(self.features, 1, self.stride, self.dtype, name="conv")(x)
        return self.norm(name="bn")(x)


def pad_shortcut(x: Maps, features: int, stride: int) -> Convolved:
    """Option A of the ResNet paper: subsample, then add zero channels on both sides."""
    missing = features - x.shape[-1]
    before = missing // 2
    x = x[:, ::stride, ::stride, :]
    return jnp.pad(x, ((0, 0), (0, 0), (0, 0), (before, missing - before)))


class ResidualBlock(nn.Module):
    """Base of both kinds of block.

    Attributes:
        width: channels of the 3x3 convolutions.
        stride: of one 3x3 convolution and of the shortcut.
        shortcut: "projection" or "pad", where the shape changes.
        norm: see `Norm`.
        dtype: compute dtype.
        expansion: C_out / `width`.
    """

    width: int
    stride: int
    shortcut: str
    norm: Norm
    dtype: Any
    expansion: ClassVar[int] = 1

    def skip(self, x: Maps) -> Convolved:
        """The shortcut."""
        features = self.width * self.expansion
        if self.stride == 1 and x.shape[-1] == features:
            return x
        if self.shortcut == "pad":
            return pad_shortcut(x, features, self.stride)
        layer = ProjectionShortcut(features, self.stride, self.norm, self.dtype, name="downsample")
        return layer(x)


class BasicBlock(ResidualBlock):
    """Two 3x3 convolutions, the first with the stride."""

    @nn.compact
    def __call__(self, x: Maps) -> Convolved:
        """C_out is `width`."""
        y = Conv(self.width, 3, self.stride, self.dtype, name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y))
        y = Conv(self.width, 3, 1, self.dtype, name="conv2")(y)
        y = self.norm(name="bn2")(y)
        return nn.relu(y + self.skip(x))


class Bottleneck(ResidualBlock):
    """1x1, 3x3 (with the stride) and 1x1 convolutions; the last is four times as wide."""

    expansion: ClassVar[int] = 4

    @nn.compact
    def __call__(self, x: Maps) -> Convolved:
        """C_out is 4 * `width`."""
        y = Conv(self.width, 1, 1, self.dtype, name="conv1")(x)
        y = nn.relu(self.norm(name="bn1")(y))
        y = Conv(self.width, 3, self.stride, self.dtype, name="conv2")(y)
        y = nn.relu(self.norm(name="bn2")(y))
        y = Conv(self.width * self.expansion, 1, 1, self.dtype, name="conv3")(y)
        y = self.norm(name="bn3")(y)
        return nn.relu(y + self.skip(x))


BLOCKS: dict[str, type[ResidualBlock]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class Stage(nn.Module):
    """Blocks of one resolution, named "0", "1", ... as in torchvision; the first has the stride."""

    block: str
    blocks: int
    width: int
    stride: int
    shortcut: str
    norm: Norm
    dtype: Any
    remat: bool

    @nn.compact
    def __call__(self, x: Maps) -> Convolved:
        """Apply the blocks in order."""
        kind = BLOCKS[self.block]
        if self.remat:
            kind = nn.remat(kind)
        for index in range(self.blocks):
            stride = self.stride if index == 0 else 1
            x = kind(self.width, stride, self.shortcut, self.norm, self.dtype, name=str(index))(x)
        return x


class ResNet(nn.Module):
    """A residual backbone that returns the feature map of every stage.

    Attributes:
        block: "basic" or "bottleneck".
        blocks_per_stage: its length is the number of stages.
        width: channels of the stem and of the first stage's 3x3 convolutions, doubled per stage.
        stem: "imagenet" (7x7 stride 2, max pooling) or "small" (3x3, `stem_stride`, no pooling).
        stem_stride: stride of the small stem; the imagenet stem ignores it.
        shortcut: "projection" or "pad", where the shape changes.
        torch_running_variance: see `BatchNorm`.
        remat: store only the inputs of blocks for the backward pass and recompute the rest: about
            a third more work for much less memory, the same gradient.
        dtype: compute dtype; parameters and statistics are always float32.
    """

    block: Literal["basic", "bottleneck"]
    blocks_per_stage: tuple[int, ...]
    width: int = 64
    stem: Literal["imagenet", "small"] = "imagenet"
    stem_stride: int = 1
    shortcut: Literal["projection", "pad"] = "projection"
    torch_running_variance: bool = False
    remat: bool = False
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, images: Float[Array, "B H W 3"], use_running_average: bool
    ) -> list[Float[jax.Array, "B _ _ _"]]:
        """Feature maps of normalized images, one per stage, in the compute dtype."""
        norm = functools.partial(
            BatchNorm,
            use_running_average=use_running_average,
            torch_running_variance=self.torch_running_variance,
            dtype=self.dtype,
        )
        kernel_size, stride = (7, 2) if self.stem == "imagenet" else (3, self.stem_stride)
        x = Conv(self.width, kernel_size, stride, self.dtype, name="conv1")(images)
        x = nn.relu(norm(name="bn1")(x))
        if self.stem == "imagenet":
            # Flax annotates `padding` as a string, but documents and accepts pairs.
            padding: Any = ((1, 1), (1, 1))
            x = nn.max_pool(x, (3, 3), (2, 2), padding)
        maps = []
        for index, blocks in enumerate(self.blocks_per_stage):
            stage = Stage(
                block=self.block,
                blocks=blocks,
                width=self.width * 2**index,
                stride=1 if index == 0 else 2,
                shortcut=self.shortcut,
                norm=norm,
                dtype=self.dtype,
                remat=self.remat,
                name=f"layer{index + 1}",
            )
            x = stage(x)
            maps.append(x)
        return maps

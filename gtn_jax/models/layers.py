"""Layers that pad and initialize as PyTorch does: `Conv`, `BatchNorm`, `linear`."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Bool, Float

from gtn_jax.arrays import Array
from gtn_jax.models.convolution import conv2d

# torchvision's initializer for convolutions: kaiming_normal_(mode="fan_out", nonlinearity="relu").
conv_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# torch.nn.Linear's initializer, U(-1, 1) / sqrt(fan_in): a variance of 1 / (3 fan_in).
linear_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Conv(nn.Module):
    """Square convolution without bias; parameter `kernel` (HWIO, float32), computed in `dtype`."""

    features: int
    kernel_size: int
    stride: int = 1
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(
        self, x: Float[Array, "B H W C"]
    ) -> Float[jax.Array, "B H_out W_out {self.features}"]:
        """Convolve with padding kernel_size // 2; see `conv2d`."""
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", conv_init, shape, jnp.float32)
        return conv2d(x.astype(self.dtype), kernel.astype(self.dtype), self.stride)


class BatchNorm(nn.BatchNorm):
    """Flax's BatchNorm with PyTorch's constants (its momentum 0.1 is Flax's 0.9).

    Attributes:
        torch_running_variance: update the running variance with the unbiased variance of the batch,
            n / (n - 1) times Flax's for n = B H W. PyTorch does, so a run that is compared with
            PyTorch step by step must.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    torch_running_variance: bool = False

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "*dims C"],
        use_running_average: bool | None = None,
        *,
        mask: Bool[Array, "*dims C"] | None = None,
    ) -> Float[jax.Array, "*dims C"]:
        """Normalize per channel; `use_running_average` and `mask` are Flax's and must be None."""
        assert use_running_average is None
        assert mask is None
        trains = not (self.use_running_average or self.is_initializing())
        if not (trains and self.torch_running_variance):
            return super().__call__(x)
        decayed = self.momentum * self.get_variable("batch_stats", "var")
        normalized = super().__call__(x)
        added = self.get_variable("batch_stats", "var") - decayed
        count = x.size // x.shape[-1]
        self.put_variable("batch_stats", "var", decayed + added * (count / (count - 1)))
        return normalized


def linear(features: int, name: str, use_bias: bool = False, kernel_init=linear_init) -> nn.Dense:
    """A float32 `nn.Dense` with the initializer of PyTorch's `Linear`; a bias starts at 0."""
    return nn.Dense(features, use_bias=use_bias, kernel_init=kernel_init, name=name)

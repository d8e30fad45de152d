"""The layers that everything here is built from: `Conv`, `BatchNorm`, `linear`.

They exist because PyTorch pads and starts its layers differently from Flax. How a convolution is
computed is convolution.py's.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from gtn_jax.models.convolution import conv2d

# torchvision's start for convolutions: kaiming_normal_(mode="fan_out", nonlinearity="relu").
conv_init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
# torch.nn.Linear's start, U(-1, 1) / sqrt(fan_in): a variance of 1 / (3 fan_in).
linear_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")


class Conv(nn.Module):
    """Square convolution without bias; parameter `kernel` (HWIO, float32).

    Attributes:
        features: output channels.
        kernel_size: side of the kernel in pixels.
        stride: step in pixels.
        dtype: compute dtype.
    """

    features: int
    kernel_size: int
    stride: int = 1
    dtype: jnp.dtype = jnp.float32  # pyright: ignore[reportAssignmentType]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """B H W C -> B H/stride W/stride features."""
        shape = (self.kernel_size, self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", conv_init, shape, jnp.float32)
        return conv2d(x.astype(self.dtype), kernel.astype(self.dtype), self.stride)


class BatchNorm(nn.BatchNorm):
    """Flax's BatchNorm with PyTorch's constants (its momentum 0.1 is Flax's 0.9).

    Attributes:
        torch_running_variance: keep the unbiased variance of a batch in the running one, n/(n-1)
            times Flax's for n = B H W, because PyTorch does and a run that is compared with one
            of PyTorch's step by step must.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5
    torch_running_variance: bool = False

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        use_running_average: bool | None = None,
        *,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        """B H W C -> the same shape, normalized, scaled and shifted per channel.

        `use_running_average` and `mask` are there because Flax has them; nothing here uses them.
        """
        assert use_running_average is None
        assert mask is None
        trains = not (self.use_running_average or self.is_initializing())
        if not (trains and self.torch_running_variance):
            return super().__call__(x)
        kept = self.momentum * self.get_variable("batch_stats", "var")
        normalized = super().__call__(x)
        added = self.get_variable("batch_stats", "var") - kept
        count = x.size // x.shape[-1]
        self.put_variable("batch_stats", "var", kept + added * (count / (count - 1)))
        return normalized


def linear(features: int, name: str, use_bias: bool = False, kernel_init=linear_init) -> nn.Dense:
    """A float32 `nn.Dense` that starts as PyTorch's `Linear` (its bias, if any, starts at 0)."""
    return nn.Dense(features, use_bias=use_bias, kernel_init=kernel_init, name=name)

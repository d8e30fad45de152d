"""Convolutions pad as PyTorch's do; a 1x1 one is a matrix product with the same result."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gtn_jax.models.layers import Conv, conv2d, linear


def plain(x, kernel, stride: int):
    """XLA's convolution."""
    pad = kernel.shape[0] // 2
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        ((pad, pad), (pad, pad)),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [6, 7])
def test_pointwise_is_the_same_as_a_convolution(stride, side):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.standard_normal((2, side, side, 5)), jnp.float32)
    kernel = jnp.asarray(rng.standard_normal((1, 1, 5, 4)), jnp.float32)
    found, expected = conv2d(x, kernel, stride), plain(x, kernel, stride)
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    weights = rng.standard_normal(expected.shape).astype(np.float32)
    for argument in (0, 1):
        slopes = [
            jax.grad(lambda x, k, f=f: (f(x, k, stride) * weights).sum(), argument)(x, kernel)
            for f in (conv2d, plain)
        ]
        np.testing.assert_allclose(slopes[0], slopes[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (7, 2)])
def test_padding_is_symmetric_as_in_pytorch(size, stride):
    # On an even side, XLA's "SAME" would pad less before than after.
    x = jnp.zeros((1, 8, 8, 1)).at[0, 0, 0, 0].set(1)
    kernel = jnp.arange(size * size, dtype=jnp.float32).reshape(size, size, 1, 1)
    found = conv2d(x, kernel, stride)
    assert found.shape == (1, 8 // stride, 8 // stride, 1)
    assert found[0, 0, 0, 0] == kernel[size // 2, size // 2, 0, 0]


def test_starts():
    x = np.zeros((1, 8, 8, 16), np.float32)
    kernel = np.asarray(Conv(32, 3).init(jax.random.key(0), x)["params"]["kernel"])
    assert kernel.shape == (3, 3, 16, 32)
    # kaiming_normal_, fan_out: variance 2 / (9 * 32).
    np.testing.assert_allclose(np.std(kernel), np.sqrt(2 / 288), rtol=0.05)
    layer = linear(50, "fc", use_bias=True)
    params = layer.init(jax.random.key(0), jnp.zeros((1, 100)))["params"]
    assert 0.099 < np.abs(np.asarray(params["kernel"])).max() <= 0.1
    np.testing.assert_array_equal(np.asarray(params["bias"]), np.zeros(50))

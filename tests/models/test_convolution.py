"""All three passes against XLA's convolution in float64, and what they become on each platform."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from gtn_jax.models.convolution import contract_pixels, conv2d


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


def passes(convolve, x, kernel, stride: int, weights):
    """Output, input gradient, weight gradient of sum(weights * output)."""
    output, pullback = jax.vjp(lambda x, kernel: convolve(x, kernel, stride), x, kernel)
    return output, *pullback(weights)


@pytest.mark.parametrize("size", [1, 3, 7])
@pytest.mark.parametrize(("stride", "side"), [(1, 6), (1, 3), (2, 12), (2, 7)])
@pytest.mark.parametrize(("channels", "features"), [(3, 5), (26, 24)])
def test_same_as_xla_in_float64(size, stride, side, channels, features):
    generator = np.random.default_rng(0)
    with jax.enable_x64(True):
        x = jnp.asarray(generator.standard_normal((2, side, side + 1, channels)))
        kernel = jnp.asarray(generator.standard_normal((size, size, channels, features)))
        rows, columns = -(-side // stride), -(-(side + 1) // stride)
        weights = jnp.asarray(generator.standard_normal((2, rows, columns, features)))

        @jax.jit  # one program, where each operation would be one of its own
        def both(x, kernel, weights):
            return [passes(each, x, kernel, stride, weights) for each in (conv2d, plain)]

        found, expected = both(x, kernel, weights)
        for ours, theirs in zip(found, expected, strict=True):
            assert ours.dtype == jnp.float64
            np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


def test_outer_products_by_hand():
    x = jnp.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    slope = jnp.array([[[[10.0], [100.0]]]])
    np.testing.assert_array_equal(contract_pixels(x, slope), [[310.0], [420.0]])
    np.testing.assert_array_equal(contract_pixels(slope, x), [[310.0, 420.0]])


@pytest.mark.parametrize(("size", "stride"), [(3, 1), (3, 2), (7, 2)])
def test_padding_is_symmetric_as_in_pytorch(size, stride):
    # On an even side, XLA's "SAME" would pad less before than after.
    x = jnp.zeros((1, 8, 8, 1)).at[0, 0, 0, 0].set(1)
    kernel = jnp.arange(size * size, dtype=jnp.float32).reshape(size, size, 1, 1)
    found = jax.jit(conv2d, static_argnums=2)(x, kernel, stride)
    assert found.shape == (1, 8 // stride, 8 // stride, 1)
    assert found[0, 0, 0, 0] == kernel[size // 2, size // 2, 0, 0]


@pytest.mark.parametrize(("platform", "channels", "convolutions"), [
    *(("cpu", 4, 2), ("cpu", 32, 0), ("cpu", 128, 2)),
    *(("cuda", 4, 3), ("cuda", 32, 3), ("tpu", 32, 3)),
])  # fmt: skip
@pytest.mark.parametrize("stride", [1, 2])
def test_what_is_left_to_xla(platform, channels, convolutions, stride):
    """On a CPU the weight gradient never, other passes where its kernel is the faster one."""
    x = np.zeros((2, 16, 16, channels), np.float32)
    kernel, slope = np.zeros((3, 3, channels, channels), np.float32), x[:, ::stride, ::stride]
    if platform == "cpu" and stride == 2:
        convolutions = min(convolutions, 1)  # not the input gradient

    def all_passes(x, kernel):
        return passes(conv2d, x, kernel, stride, slope)

    exported = jax.export.export(jax.jit(all_passes), platforms=[platform])(x, kernel)
    assert exported.mlir_module().count("stablehlo.convolution") == convolutions

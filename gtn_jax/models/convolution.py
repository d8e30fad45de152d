"""`conv2d`: convolution by a square kernel, each of its three passes in the form that is fastest.

Forward and input gradient are XLA's, but for 1x1 kernels, which are matrix products, and for tiny
maps on a CPU. The weight gradient contracts all pixels of a batch; XLA writes it as a convolution
whose window is the whole map, which on a CPU runs at a fifth to two thirds of a matrix product's
rate. There it is a product here. Figures: docs/benchmarks.md. No dilation, no groups, no derivative
in forward mode.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

_SMALL_SIDE = 4
"""Of a map that a larger kernel makes, in pixels, up to which a CPU takes products for all passes:
twice as fast at 4 pixels, and a hundred times below the kernel's own side, where XLA has nothing
but a plain loop."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv2d(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolve B H W C with a kernel k k C O, padded by k // 2 on every side as PyTorch does.

    Args:
        x: B H W C, any float dtype.
        kernel: k k C O, the same dtype; k is odd.
        stride: step in pixels.

    Returns:
        B H/stride W/stride O (rounded up), the same dtype.
    """
    if kernel.shape[0] == 1:
        return lax.dot_general(_every(x, stride), kernel[0, 0], (((3,), (0,)), ((), ())))
    return _convolution(x, kernel, stride)


def _forward(x: jax.Array, kernel: jax.Array, stride: int) -> tuple[jax.Array, Any]:
    return conv2d(x, kernel, stride), (x, kernel)


def _backward(stride: int, kept: tuple[jax.Array, jax.Array], slope: jax.Array) -> Any:
    """Gradients of input and kernel; `slope` is that of the output, B H' W' O."""
    x, kernel = kept
    if kernel.shape[0] == 1:
        narrow = _every(x, stride)
        (towards_narrow,) = jax.linear_transpose(
            lambda x: lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ()))), narrow
        )(slope)
        (towards_x,) = jax.linear_transpose(lambda x: _every(x, stride), x)(towards_narrow)
        return towards_x, contract_pixels(narrow, slope)[None, None]
    (towards_x,) = jax.linear_transpose(lambda x: _convolution(x, kernel, stride), x)(slope)
    weight_gradient = lax.platform_dependent(
        x,
        slope,
        cpu=functools.partial(_weight_gradient, size=kernel.shape[0], stride=stride),
        default=lambda x, slope: jax.linear_transpose(
            lambda kernel: _xla_convolution(x, kernel, stride), kernel
        )(slope)[0],
    )
    return towards_x, weight_gradient


conv2d.defvjp(_forward, _backward)


def _convolution(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Larger kernels; linear in `x`, so its transpose is the input gradient."""
    if -(-min(x.shape[1:3]) // stride) > _SMALL_SIDE:
        return _xla_convolution(x, kernel, stride)
    return lax.platform_dependent(
        x,
        cpu=lambda x: _product(x, kernel, stride),
        default=lambda x: _xla_convolution(x, kernel, stride),
    )


def _product(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolve by one product of all pixels under the kernel."""
    size, around = kernel.shape[0], kernel.shape[0] // 2
    padded = jnp.pad(x, ((0, 0), (around, around), (around, around), (0, 0)))
    height, width = (stride * (-(-side // stride) - 1) + 1 for side in x.shape[1:3])
    under = [
        padded[:, i : i + height : stride, j : j + width : stride]
        for i in range(size)
        for j in range(size)
    ]
    flat = kernel.reshape(-1, kernel.shape[-1])
    return lax.dot_general(jnp.concatenate(under, axis=-1), flat, (((3,), (0,)), ((), ())))


def _xla_convolution(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    around = kernel.shape[0] // 2
    padding = ((around, around), (around, around))
    dimensions = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=dimensions
    )


def _every(x: jax.Array, stride: int) -> jax.Array:
    """The pixels of B H W C that a 1x1 kernel of this stride sees."""
    return x if stride == 1 else x[:, ::stride, ::stride, :]


def contract_pixels(x: jax.Array, slope: jax.Array) -> jax.Array:
    """Sum over batch and pixels of outer products: B H W C, B H W O -> C O.

    The narrower factor goes first, which on a CPU is up to 1.8 times as fast, and the barrier keeps
    XLA from turning the product round again. Pixels are one dimension: XLA would first transpose a
    factor whose rows are several, together with all that computes it.
    """
    x, slope = x.reshape(-1, x.shape[-1]), slope.reshape(-1, slope.shape[-1])
    rows = (((0,), (0,)), ((), ()))
    if x.shape[-1] <= slope.shape[-1]:
        return lax.dot_general(x, slope, rows)
    return lax.optimization_barrier(lax.dot_general(slope, x, rows)).T


def _weight_gradient(x: jax.Array, slope: jax.Array, size: int, stride: int) -> jax.Array:
    """k k C O from B H W C and B H' W' O, as products over all pixels.

    Side by side as channels stand the pixels that a row of the kernel sees, for one product a row;
    with a stride, those that all rows see, for one product. The second is a little faster, and
    takes k times the memory, which at stride 1 would be k*k times the input.
    """
    around = size // 2
    padded = jnp.pad(x, ((0, 0), (around, around), (around, around), (0, 0)))
    height, width = (stride * (side - 1) + 1 for side in slope.shape[1:3])
    beside = jnp.concatenate([padded[:, :, j : j + width : stride] for j in range(size)], axis=-1)
    beside = lax.optimization_barrier(beside)  # once, not once a row
    under = [beside[:, i : i + height : stride] for i in range(size)]
    if stride > 1:
        under = [jnp.concatenate(under, axis=-1)]
    products = jnp.concatenate([contract_pixels(seen, slope) for seen in under])
    return products.reshape(size, size, x.shape[-1], slope.shape[-1])

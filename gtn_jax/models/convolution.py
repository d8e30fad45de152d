"""`conv2d`: convolution by a square kernel, each of its three passes in the form that is fastest.

On an accelerator all passes are XLA's, but for 1x1 kernels, which are matrix products. On a CPU,
XLA's kernels for convolutions reach a third to two thirds of a matrix product's rate at most sizes,
and less for the weight gradient, whose window is the whole map: there, products do what they win
at. A training step beside one of XLA's convolutions: `gtn_jax / flax` in docs/benchmarks.md. No
dilation, no groups, no derivative in forward mode.
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
    towards_x = _input_gradient(x, kernel, slope, stride)
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
    """Larger kernels."""
    channels, small = x.shape[-1], -(-min(x.shape[1:3]) // stride) <= _SMALL_SIDE
    # XLA's kernel is up to a quarter faster for few channels and, unlike at 96 or 192, at 128.
    if not small and (channels < 24 or channels == 128):
        return _xla_convolution(x, kernel, stride)
    return lax.platform_dependent(
        x,
        cpu=lambda x: (_row_products if stride == 1 else _patch_product)(x, kernel, stride),
        default=lambda x: _xla_convolution(x, kernel, stride),
    )


def _input_gradient(x: jax.Array, kernel: jax.Array, slope: jax.Array, stride: int) -> jax.Array:
    """B H W C from `slope`, B H' W' O: the transpose of `_convolution` in `x`.

    Without a stride that is the convolution by the kernel turned round.
    """

    def transposed(slope: jax.Array, convolve: Any) -> jax.Array:
        return jax.linear_transpose(lambda x: convolve(x, kernel, stride), x)(slope)[0]

    turned = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    return lax.platform_dependent(
        slope,
        cpu=lambda slope: (
            _convolution(slope, turned, 1) if stride == 1 else transposed(slope, _patch_product)
        ),
        default=functools.partial(transposed, convolve=_xla_convolution),
    )


def _patch_product(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
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


def _row_products(x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Convolve, without a stride, by one product a row of the kernel; then add these, shifted.

    So the pixels of x are copied as often as the kernel is wide, not as often as it has pixels.
    """
    assert stride == 1
    size, around = kernel.shape[0], kernel.shape[0] // 2
    beside = _neighbors(x, size, axis=2)
    rows = [
        lax.dot_general(beside, row.reshape(-1, row.shape[-1]), (((3,), (0,)), ((), ())))
        for row in kernel
    ]
    rows = lax.optimization_barrier(rows)  # their sum is one pass over memory
    return sum(  # pyright: ignore[reportReturnType]
        (_shifted(row, i - around, axis=1) for i, row in enumerate(rows[1:], 1)),
        start=_shifted(rows[0], -around, axis=1),
    )


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
    """k k C O from B H W C and B H' W' O, as a product over all pixels.

    A stride has all pixels under the kernel side by side. Without one, a pixel of the slope meets
    one of x for every row and column of the kernel: rows are neighbors of the one and columns of
    the other, which is k + k copies instead of k * k, and a product of better proportions. The
    columns of the slope are what `_row_products` takes for the input gradient.
    """
    channels, features = x.shape[-1], slope.shape[-1]
    if stride == 1:
        above, beside = _neighbors(x, size, axis=1), _neighbors(slope, size, axis=2)
        product = contract_pixels(above, beside).reshape(size, channels, size, features)
        return jnp.flip(product.transpose(0, 2, 1, 3), 1)  # x one to the right: slope to the left
    around = size // 2
    padded = jnp.pad(x, ((0, 0), (around, around), (around, around), (0, 0)))
    height, width = (stride * (side - 1) + 1 for side in slope.shape[1:3])
    beside = jnp.concatenate([padded[:, :, j : j + width : stride] for j in range(size)], axis=-1)
    beside = lax.optimization_barrier(beside)  # once, not once a row
    under = [beside[:, i : i + height : stride] for i in range(size)]
    product = contract_pixels(jnp.concatenate(under, axis=-1), slope)
    return product.reshape(size, size, channels, features)


def _neighbors(x: jax.Array, size: int, axis: int) -> jax.Array:
    """B H W C -> B H W size*C: the `size` pixels around each one along `axis`, zeros outside."""
    shifts = [_shifted(x, k - size // 2, axis) for k in range(size)]
    return lax.optimization_barrier(jnp.concatenate(shifts, axis=-1))


def _shifted(x: jax.Array, by: int, axis: int) -> jax.Array:
    """x[i + by] at i along `axis`, zeros from outside."""
    edges = [(-by, by, 0) if dimension == axis else (0, 0, 0) for dimension in range(x.ndim)]
    return lax.pad(x, jnp.zeros((), x.dtype), edges)

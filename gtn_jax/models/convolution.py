"""`conv2d`: convolution with a square kernel, with the fastest form of each of its three passes.

On accelerators XLA computes all passes, except that 1x1 kernels are matrix products. On CPUs, XLA's
convolutions reach a third to two thirds of the rate of a matrix product at most sizes, and less for
the weight gradient, whose window is the whole map; matrix products replace them where they are
faster (measured as `gtn_jax / flax` in docs/benchmarks.md). No dilation, groups or forward-mode
derivative.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Float

from gtn_jax.arrays import Array

_SMALL_SIDE = 4
"""Side in pixels of an output map up to which a CPU uses matrix products for all passes of kernels
larger than 1x1: twice as fast at 4 pixels, and a hundred times below the side of the kernel, where
XLA has nothing but a plain loop."""


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv2d(
    x: Float[Array, "B H W C"], kernel: Float[Array, "k k C O"], stride: int
) -> Float[jax.Array, "B H_out W_out O"]:
    """Convolve with padding k // 2 on every side, as PyTorch does.

    Args:
        x: any float dtype.
        kernel: of the same dtype; k is odd.
        stride: in pixels; H_out and W_out are H / stride and W / stride, rounded up.
    """
    if kernel.shape[0] == 1:
        return lax.dot_general(_every(x, stride), kernel[0, 0], (((3,), (0,)), ((), ())))
    return _convolution(x, kernel, stride)


def _forward(x: Array, kernel: Array, stride: int) -> tuple[jax.Array, Any]:
    return conv2d(x, kernel, stride), (x, kernel)


def _backward(stride: int, saved: tuple[Array, Array], grad_output: Array) -> Any:
    """Gradients of the input and the kernel."""
    x, kernel = saved
    if kernel.shape[0] == 1:
        subsampled = _every(x, stride)
        (grad_subsampled,) = jax.linear_transpose(
            lambda x: lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ()))), subsampled
        )(grad_output)
        (grad_x,) = jax.linear_transpose(lambda x: _every(x, stride), x)(grad_subsampled)
        return grad_x, contract_pixels(subsampled, grad_output)[None, None]
    grad_x = _input_gradient(x, kernel, grad_output, stride)
    grad_kernel = lax.platform_dependent(
        x,
        grad_output,
        cpu=functools.partial(_weight_gradient, size=kernel.shape[0], stride=stride),
        default=lambda x, grad_output: jax.linear_transpose(
            lambda kernel: _xla_convolution(x, kernel, stride), kernel
        )(grad_output)[0],
    )
    return grad_x, grad_kernel


conv2d.defvjp(_forward, _backward)


def _convolution(x: Array, kernel: Array, stride: int) -> jax.Array:
    channels, small = x.shape[-1], -(-min(x.shape[1:3]) // stride) <= _SMALL_SIDE
    # XLA's kernel is up to a quarter faster for few channels and, unlike at 96 or 192, at 128.
    if not small and (channels < 24 or channels == 128):
        return _xla_convolution(x, kernel, stride)
    return lax.platform_dependent(
        x,
        cpu=lambda x: (_row_products if stride == 1 else _patch_product)(x, kernel, stride),
        default=lambda x: _xla_convolution(x, kernel, stride),
    )


def _input_gradient(x: Array, kernel: Array, grad_output: Array, stride: int) -> jax.Array:
    """The transpose of `_convolution` in `x`; at stride 1, convolution with the flipped kernel."""

    def transposed(grad_output: Array, convolve: Any) -> jax.Array:
        return jax.linear_transpose(lambda x: convolve(x, kernel, stride), x)(grad_output)[0]

    flipped = jnp.flip(kernel, (0, 1)).swapaxes(2, 3)
    return lax.platform_dependent(
        grad_output,
        cpu=lambda grad_output: (
            _convolution(grad_output, flipped, 1)
            if stride == 1
            else transposed(grad_output, _patch_product)
        ),
        default=functools.partial(transposed, convolve=_xla_convolution),
    )


def _patch_product(x: Array, kernel: Array, stride: int) -> jax.Array:
    """Convolve by one product of k * k patches (im2col)."""
    size, around = kernel.shape[0], kernel.shape[0] // 2
    padded = jnp.pad(x, ((0, 0), (around, around), (around, around), (0, 0)))
    height, width = (stride * (-(-side // stride) - 1) + 1 for side in x.shape[1:3])
    patches = [
        padded[:, i : i + height : stride, j : j + width : stride]
        for i in range(size)
        for j in range(size)
    ]
    flat = kernel.reshape(-1, kernel.shape[-1])
    return lax.dot_general(jnp.concatenate(patches, axis=-1), flat, (((3,), (0,)), ((), ())))


def _row_products(x: Array, kernel: Array, stride: int) -> jax.Array:
    """Convolve at stride 1 by one product per kernel row, and add the shifted products.

    This copies x k times where patches copy it k * k times.
    """
    assert stride == 1
    size, around = kernel.shape[0], kernel.shape[0] // 2
    columns = _neighbors(x, size, axis=2)
    rows = [
        lax.dot_general(columns, row.reshape(-1, row.shape[-1]), (((3,), (0,)), ((), ())))
        for row in kernel
    ]
    rows = lax.optimization_barrier(rows)  # their sum is one pass over memory
    return sum(  # pyright: ignore[reportReturnType]
        (_shifted(row, i - around, axis=1) for i, row in enumerate(rows[1:], 1)),
        start=_shifted(rows[0], -around, axis=1),
    )


def _xla_convolution(x: Any, kernel: Any, stride: int) -> jax.Array:
    around = kernel.shape[0] // 2
    padding = ((around, around), (around, around))
    dimensions = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=dimensions
    )


def _every(x: Array, stride: int) -> Array:
    """The pixels of B H W C that a 1x1 kernel of this stride sees."""
    return x if stride == 1 else x[:, ::stride, ::stride, :]


def contract_pixels(
    x: Float[Array, "B H W C"], grad_output: Float[Array, "B H W O"]
) -> Float[jax.Array, "C O"]:
    """Sum outer products over batch and pixels.

    The narrower factor goes first, which is up to 1.8 times as fast on a CPU; the barrier keeps XLA
    from swapping the factors back. Pixels are flattened to one dimension: of a factor with several,
    XLA would first transpose all that computes it.
    """
    x, grad_output = x.reshape(-1, x.shape[-1]), grad_output.reshape(-1, grad_output.shape[-1])
    rows = (((0,), (0,)), ((), ()))
    if x.shape[-1] <= grad_output.shape[-1]:
        return lax.dot_general(x, grad_output, rows)
    return lax.optimization_barrier(lax.dot_general(grad_output, x, rows)).T


def _weight_gradient(x: Array, grad_output: Array, size: int, stride: int) -> jax.Array:
    """k k C O from B H W C and B H_out W_out O, as a product over all pixels.

    With a stride, the factor is the k * k patches of x. At stride 1, the k row shifts of x meet the
    k column shifts of the output gradient: k + k copies instead of k * k, a product of better
    proportions, and the column shifts are shared with `_row_products` of the input gradient.
    """
    channels, features = x.shape[-1], grad_output.shape[-1]
    if stride == 1:
        rows, columns = _neighbors(x, size, axis=1), _neighbors(grad_output, size, axis=2)
        product = contract_pixels(rows, columns).reshape(size, channels, size, features)
        # x one pixel to the right is the output gradient one to the left.
        return jnp.flip(product.transpose(0, 2, 1, 3), 1)
    around = size // 2
    padded = jnp.pad(x, ((0, 0), (around, around), (around, around), (0, 0)))
    height, width = (stride * (side - 1) + 1 for side in grad_output.shape[1:3])
    columns = jnp.concatenate([padded[:, :, j : j + width : stride] for j in range(size)], axis=-1)
    columns = lax.optimization_barrier(columns)  # computed once, not once a row
    patches = [columns[:, i : i + height : stride] for i in range(size)]
    product = contract_pixels(jnp.concatenate(patches, axis=-1), grad_output)
    return product.reshape(size, size, channels, features)


def _neighbors(x: Array, size: int, axis: int) -> jax.Array:
    """B H W C -> B H W size*C: the `size` pixels around each one along `axis`, zeros outside."""
    shifts = [_shifted(x, k - size // 2, axis) for k in range(size)]
    return lax.optimization_barrier(jnp.concatenate(shifts, axis=-1))


def _shifted(x: Array, by: int, axis: int) -> jax.Array:
    """x[i + by] at i along `axis`, zeros from outside."""
    edges = [(-by, by, 0) if dimension == axis else (0, 0, 0) for dimension in range(x.ndim)]
    return lax.pad(x, jnp.zeros((), x.dtype), edges)

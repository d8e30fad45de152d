"""What the machine can do at all: copies in memory, products of large matrices."""

import os
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np

from gtn_jax.benchmark.spec import Spec
from gtn_jax.benchmark.workload import Workload

MIB = 2**20


def build(spec: Spec) -> Workload:
    """`copy` of `size` MiB (read and written bytes both count) or `matmul` of side `size`."""
    if spec.kind == "matmul":
        return _matmul(spec)
    return _host_copy(spec) if spec.framework == "numpy" else _device_copy(spec)


def _matmul(spec: Spec) -> Workload:
    keys = jax.random.split(jax.random.key(0))
    shape, dtype = (spec.size, spec.size), jnp.dtype(spec.dtype)
    one, other = (jax.random.normal(key, shape).astype(dtype) for key in keys)
    multiply = jax.jit(jnp.matmul)

    def repeat(iterations: int) -> None:
        product = None
        for _ in range(iterations):
            product = multiply(one, other)
        jax.block_until_ready(product)

    return Workload(repeat, 2 * spec.size**3 / 1e9)


def _device_copy(spec: Spec) -> Workload:
    # A change of sign: XLA would not move bytes for nothing.
    copy = jax.jit(jnp.negative)
    source = jnp.ones(spec.size * MIB // 4, jnp.float32)

    def repeat(iterations: int) -> None:
        target = None
        for _ in range(iterations):
            target = copy(source)
        jax.block_until_ready(target)

    return Workload(repeat, 2 * spec.size * MIB / 1e9)


def _host_copy(spec: Spec) -> Workload:
    threads = int(os.environ["OMP_NUM_THREADS"])
    source = np.ones((threads, spec.size * MIB // 4 // threads), np.float32)
    target = np.zeros_like(source)
    pool = ThreadPoolExecutor(threads)

    def repeat(iterations: int) -> None:
        for _ in range(iterations):
            list(pool.map(np.copyto, target, source))  # a row a thread

    return Workload(repeat, 2 * source.nbytes / 1e9)

"""Limits of the machine: copies in memory, and products of large matrices."""

import os
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np

from gtn_jax.benchmark.spec import Spec
from gtn_jax.benchmark.workload import Workload


def build(spec: Spec) -> Workload:
    """`copy` of `size` MiB (bytes read and written both count) or `matmul` of side `size`."""
    if spec.kind == "matmul":
        shape, dtype = (spec.size, spec.size), jnp.dtype(spec.dtype)
        keys = jax.random.split(jax.random.key(0))
        one, other = (jax.random.normal(key, shape).astype(dtype) for key in keys)
        multiply = jax.jit(jnp.matmul)
        gflop = 2 * spec.size**3 / 1e9
        return Workload(lambda: multiply(one, other), gflop, jax.block_until_ready)
    floats = spec.size * 2**20 // 4
    if spec.framework == "numpy":
        return _host_copy(floats)
    copy = jax.jit(jnp.negative)  # XLA would not move bytes without changing them
    source = jnp.ones(floats, jnp.float32)
    return Workload(lambda: copy(source), 2 * source.nbytes / 1e9, jax.block_until_ready)


def _host_copy(floats: int) -> Workload:
    threads = int(os.environ["OMP_NUM_THREADS"])
    source = np.ones((threads, floats // threads), np.float32)
    target = np.zeros_like(source)
    pool = ThreadPoolExecutor(threads)  # a row per thread
    return Workload(lambda: list(pool.map(np.copyto, target, source)), 2 * source.nbytes / 1e9)

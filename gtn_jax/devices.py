"""Data parallelism: parameters replicated, batches split over the devices of a mesh.

`jit` over a mesh sees one global batch, so BatchNorm statistics, losses and metrics do not depend
on the number of devices or processes.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

Tree = TypeVar("Tree")
Device = Any
"""A `jax.Device`, which type checkers do not accept as a class."""
Devices = int | Sequence[Device] | None
"""The first n devices, these devices, or None: all devices of all processes."""


def data_mesh(devices: Devices = None) -> Mesh:
    """A mesh with one axis, "data"; ValueError if JAX_PLATFORMS asks for missing devices."""
    if devices is None or isinstance(devices, int):
        devices = all_devices()[:devices]
    chosen = list(devices)
    # make_mesh defaults to explicit axes, which need a sharding in every operation.
    return jax.make_mesh((len(chosen),), ("data",), axis_types=(AxisType.Auto,), devices=chosen)


def all_devices() -> list[Any]:
    """The devices of all processes; raises like `data_mesh`."""
    try:
        return jax.devices()
    # JAX 0.10 raises AssertionError for a known platform without devices.
    except (RuntimeError, AssertionError) as error:
        asked = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
        reason = (str(error).splitlines() or [f"JAX sees no device of {asked}"])[0]
        raise ValueError(
            f"JAX_PLATFORMS: {asked or 'not set'}: {reason}\n"
            "install what JAX needs for it (docs/devices.md), or ask for another, e.g. cpu"
        ) from error


def in_words(mesh: Mesh) -> str:
    """Number and kind of the devices, for printing."""
    return f"{mesh.size} x {mesh.devices.flat[0].device_kind}"


def replicate(tree: Tree, mesh: Mesh) -> Tree:
    """Copy every array to all devices of the mesh."""
    return put(tree, NamedSharding(mesh, PartitionSpec()))


def put_batch(batch: Tree, mesh: Mesh) -> Tree:
    """Split a batch over the devices; replicate it if they do not divide it (the last batch of an
    epoch).

    Args:
        batch: a pytree with `labels`; arrays already on devices stay where they are.
    """
    leaves, structure = jax.tree.flatten(batch)
    on_host = [leaf for leaf in leaves if not isinstance(leaf, jax.Array)]
    rows = len(batch.labels)  # pyright: ignore[reportAttributeAccessIssue]
    placed = iter(put(on_host, batch_sharding(rows, mesh)))
    return structure.unflatten(
        [leaf if isinstance(leaf, jax.Array) else next(placed) for leaf in leaves]
    )


def batch_sharding(rows: int, mesh: Mesh) -> NamedSharding:
    """The sharding that `put_batch` gives to a batch of `rows`."""
    spec = PartitionSpec("data") if rows % mesh.size == 0 else PartitionSpec()
    return NamedSharding(mesh, spec)


def own_rows(rows: int, mesh: Mesh) -> slice:
    """The rows of a batch that this process's devices hold."""
    indices = batch_sharding(rows, mesh).addressable_devices_indices_map((rows,)).values()
    bounds = [index[0].indices(rows) for index in indices if index is not None]
    return slice(min(start for start, _, _ in bounds), max(stop for _, stop, _ in bounds))


def fetch(tree: Tree) -> Tree:
    """Copy arrays to the host. With several processes, all must call it for sharded arrays."""

    def gather(leaf: Any) -> Any:
        is_sharded = not (leaf.is_fully_addressable or leaf.is_fully_replicated)
        return multihost_utils.process_allgather(leaf, tiled=True) if is_sharded else leaf

    return jax.device_get(jax.tree.map(gather, tree))


def put(tree: Tree, sharding: Any) -> Tree:
    """Place a tree that every process holds in full on the devices of `sharding`."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda leaf: _put_parts(leaf, sharding), tree)


def _put_parts(leaf: Any, sharding: Any) -> jax.Array:
    # `device_put` would first check across processes that the values are equal.
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        key_data = _put_parts(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(key_data, impl=jax.random.key_impl(leaf))
    array = np.asarray(leaf)
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])

"""Which device holds what: parameters everywhere, a batch in equal parts.

`jit` over a mesh sees one global batch, so BatchNorm statistics, losses and metrics do not depend
on the number of devices, nor on the number of processes that they belong to (distributed.py).
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
"""A `jax.Device`, which is no class to a type checker."""
Devices = int | Sequence[Device] | None
"""Which devices: the first so many, these, or (None) all, of all processes."""


def data_mesh(devices: Devices = None) -> Mesh:
    """A mesh of one axis, "data", over devices.

    Raises:
        ValueError: JAX_PLATFORMS asks for devices that are not there.
    """
    if devices is None or isinstance(devices, int):
        devices = all_devices()[:devices]
    chosen = list(devices)
    # Without Auto, make_mesh gives explicit axes, which want shardings in every operation.
    return jax.make_mesh((len(chosen),), ("data",), axis_types=(AxisType.Auto,), devices=chosen)


def all_devices() -> list[Any]:
    """Those of all processes.

    Raises:
        ValueError: as `data_mesh`.
    """
    try:
        return jax.devices()
    # JAX 0.10 has an assertion where it knows the platform and sees no such device.
    except (RuntimeError, AssertionError) as error:
        asked = jax.config.jax_platforms  # pyright: ignore[reportAttributeAccessIssue]
        reason = (str(error).splitlines() or [f"JAX sees no device of {asked}"])[0]
        raise ValueError(
            f"JAX_PLATFORMS: {asked or 'not set'}: {reason}\n"
            "install what JAX needs for it (docs/devices.md), or ask for another, e.g. cpu"
        ) from error


def in_words(mesh: Mesh) -> str:
    """How many devices of which kind, for a person."""
    return f"{mesh.size} x {mesh.devices.flat[0].device_kind}"


def replicate(tree: Tree, mesh: Mesh) -> Tree:
    """Copy every array to all devices of the mesh."""
    return put(tree, NamedSharding(mesh, PartitionSpec()))


def put_batch(batch: Tree, mesh: Mesh) -> Tree:
    """Split a batch over the devices; one that does not divide goes to all of them whole.

    The result is the same either way; only an epoch's kept partial batch takes the second.

    Args:
        batch: a pytree with `labels`; what is on devices already stays where it is.
        mesh: whose devices share it.
    """
    leaves, structure = jax.tree.flatten(batch)
    on_host = [leaf for leaf in leaves if not isinstance(leaf, jax.Array)]
    rows = len(batch.labels)  # pyright: ignore[reportAttributeAccessIssue]
    placed = iter(put(on_host, batch_sharding(rows, mesh)))
    return structure.unflatten(
        [leaf if isinstance(leaf, jax.Array) else next(placed) for leaf in leaves]
    )


def batch_sharding(rows: int, mesh: Mesh) -> NamedSharding:
    """Where the arrays of a batch of so many rows are; see `put_batch`."""
    spec = PartitionSpec("data") if rows % mesh.size == 0 else PartitionSpec()
    return NamedSharding(mesh, spec)


def own_rows(rows: int, mesh: Mesh) -> slice:
    """The rows of a batch that the devices of this process take."""
    indices = batch_sharding(rows, mesh).addressable_devices_indices_map((rows,)).values()
    bounds = [index[0].indices(rows) for index in indices if index is not None]
    return slice(min(start for start, _, _ in bounds), max(stop for _, stop, _ in bounds))


def fetch(tree: Tree) -> Tree:
    """Host copies of whole arrays; of many processes, each must ask for what is in parts."""

    def gathered(leaf: Any) -> Any:
        in_parts = not (leaf.is_fully_addressable or leaf.is_fully_replicated)
        return multihost_utils.process_allgather(leaf, tiled=True) if in_parts else leaf

    return jax.device_get(jax.tree.map(gathered, tree))


def put(tree: Tree, sharding: Any) -> Tree:
    """What every process holds whole, each part of it on the devices that are to have it."""
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)
    return jax.tree.map(lambda leaf: _put_parts(leaf, sharding), tree)


def _put_parts(leaf: Any, sharding: Any) -> jax.Array:
    # `device_put` would first ask all processes whether they hold the same.
    if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        words = _put_parts(jax.random.key_data(leaf), sharding)
        return jax.random.wrap_key_data(words, impl=jax.random.key_impl(leaf))
    whole = np.asarray(leaf)
    return jax.make_array_from_callback(whole.shape, sharding, lambda index: whole[index])

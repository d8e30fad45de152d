"""Which device holds what: parameters everywhere, a batch in equal parts.

`jit` over a mesh sees one global batch, so BatchNorm statistics, losses and metrics do not depend
on the number of devices. One process; many hosts are not handled here yet.
"""

from typing import Any, TypeVar

import jax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from gtn_jax.arrays import Batch, PooledBatch, RowBatch

Tree = TypeVar("Tree")
AnyBatch = TypeVar("AnyBatch", bound=Batch | PooledBatch | RowBatch)


def data_mesh(devices: int | None = None) -> Mesh:
    """A mesh of one axis, "data", over the first `devices` local devices (None: all of them).

    Raises:
        ValueError: JAX_PLATFORMS asks for devices that are not there.
    """
    chosen = _all_devices()[:devices]
    # Without Auto, make_mesh gives explicit axes, which want shardings in every operation.
    return jax.make_mesh((len(chosen),), ("data",), axis_types=(AxisType.Auto,), devices=chosen)


def _all_devices() -> list[Any]:
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


def replicate(tree: Tree, mesh: Mesh) -> Tree:
    """Copy every array to all devices of the mesh."""
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def put_batch(batch: AnyBatch, mesh: Mesh) -> AnyBatch:
    """Split a batch over the devices; one that does not divide goes to all of them whole.

    The result is the same either way; only an epoch's kept partial batch takes the second.
    """
    return jax.device_put(batch, batch_sharding(len(batch.labels), mesh))


def batch_sharding(rows: int, mesh: Mesh) -> NamedSharding:
    """Where the arrays of a batch of so many rows are; see `put_batch`."""
    spec = PartitionSpec("data") if rows % mesh.size == 0 else PartitionSpec()
    return NamedSharding(mesh, spec)

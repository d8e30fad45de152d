"""The pure training step under `jax.pmap`: one program a device, each on its own rows.

For code that is built on pmap, and for those who want BatchNorm per device. What this package runs
itself is jit over a mesh (devices.py, loop.py), whose results do not depend on the number of
devices. With pmap they do: each device normalizes with the statistics of its own rows and draws
its own augmentation and dropout; gradients, running statistics and metrics are then averaged, so
the state stays the same on every device. There is no evaluation step here: running statistics are
the same on all devices, so jit over a mesh gives the same numbers.

JAX keeps `pmap` in maintenance (https://docs.jax.dev/en/latest/migrate_pmap.html). One process.
"""

from typing import Any

import jax

from gtn_jax.arrays import Batch
from gtn_jax.training.state import TrainState
from gtn_jax.training.steps import Metrics, TrainStep, make_train_step

AXIS = "devices"


def make_pmap_train_step(*arguments: Any, devices: int | None = None, **options: Any) -> TrainStep:
    """Build `train_step(state, batch) -> (state, metrics)`, compiled, over local devices.

    State and metrics have no device axis, going in or coming out: they are replicated arrays, and
    the same state serves this step and a jitted one. The state is not donated. The batch is split
    by rows.

    Args:
        *arguments: of `make_train_step`.
        devices: use the first so many local ones; None for all of them.
        **options: of `make_train_step`, except `axis_name`.

    Returns:
        A function that raises ValueError for a batch that the devices do not divide. Every device
        averages over its own rows and counts the same: padded rows (mask 0) must be spread evenly.
    """
    chosen = jax.local_devices()[:devices]
    step = make_train_step(*arguments, **options, axis_name=AXIS)
    mapped = jax.pmap(step, AXIS, in_axes=(None, 0), out_axes=None, devices=chosen)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        return mapped(state, split_batch(batch, len(chosen)))

    return train_step


def split_batch(batch: Batch, devices: int) -> Batch:
    """Rows in order, in equal parts: B ... -> D B/D ..., dtypes as they are.

    Args:
        batch: of B rows.
        devices: D.

    Raises:
        ValueError: D does not divide B.
    """
    rows = len(batch.labels)
    if rows % devices:
        raise ValueError(
            f"batch of {rows} images: {devices} devices do not divide it; "
            f"make data.batch_size a multiple of {devices} and drop the last, partial batch"
        )
    return jax.tree.map(
        lambda array: array.reshape(devices, rows // devices, *array.shape[1:]), batch
    )

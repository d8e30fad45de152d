"""The training step under `jax.pmap`, for code built on pmap, and for BatchNorm per device.

The package itself uses jit over a mesh (devices.py, loop.py), whose results do not depend on the
number of devices. With pmap they do: each device normalizes with the statistics of its own rows and
draws its own augmentation and dropout; gradients, running statistics and metrics are then averaged,
so all devices have the same state. Evaluate with jit over a mesh, which gives the same numbers.

`pmap` is in maintenance (https://docs.jax.dev/en/latest/migrate_pmap.html). One process only.
"""

from typing import Any

import jax

from gtn_jax.arrays import Batch
from gtn_jax.training.state import TrainState
from gtn_jax.training.steps import Metrics, TrainStep, make_train_step

AXIS = "devices"


def make_pmap_train_step(*arguments: Any, devices: int | None = None, **options: Any) -> TrainStep:
    """Build a compiled `train_step(state, batch) -> (state, metrics)` over local devices.

    State and metrics are replicated arrays without a device axis, so the same state serves this
    step and a jitted one. The state is not donated. The batch is split by rows.

    Args:
        *arguments: of `make_train_step`.
        devices: number of local devices; None for all.
        **options: of `make_train_step`, except `axis_name`.

    Returns:
        A function that raises ValueError if the number of devices does not divide the batch. Every
        device averages over its own rows and has the same weight: spread padded rows evenly.
    """
    chosen = jax.local_devices()[:devices]
    step = make_train_step(*arguments, **options, axis_name=AXIS)
    mapped = jax.pmap(step, AXIS, in_axes=(None, 0), out_axes=None, devices=chosen)

    def train_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        return mapped(state, split_batch(batch, len(chosen)))

    return train_step


def split_batch(batch: Batch, devices: int) -> Batch:
    """Reshape every array from B ... to D B/D ..., for D devices.

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

"""The pooled features of a frozen backbone, computed once for some augmented views of every image.

A backbone without gradient that normalizes with its running statistics is a fixed function, so its
epochs need it once per view, not once per epoch. View v of image i (its row in the training part)
is the training transform with the key that `view_key` gives for v, folded with i: it depends on
seed, v and i alone, not on batches or devices. Epoch e trains on view e mod V.
"""

import dataclasses
from typing import Any

import jax
import numpy as np

from gtn_jax.arrays import Pooled, PooledBatch, Variables
from gtn_jax.data.images import Images
from gtn_jax.data.pipeline import Gather
from gtn_jax.devices import fetch
from gtn_jax.training.forward_steps import PoolingStep
from gtn_jax.training.image_store import ordered_batches

_VIEWS = 2**32 - 1
"""Folded into the run's key; steps fold in their number, which never comes that far."""


def view_key(key: jax.Array, view: int) -> jax.Array:
    """The key that a view's images fold their rows into; `key` is that of the `TrainState`."""
    return jax.random.fold_in(jax.random.fold_in(key, _VIEWS), view)


@dataclasses.dataclass(frozen=True)
class FeatureCache:
    """Features of every view of every training image, in the host's memory.

    Attributes:
        pooled: float32 V B K each, of all images.
        labels: int32 B.
    """

    pooled: Pooled
    labels: np.ndarray

    @property
    def bytes(self) -> int:
        """Size in memory: 4 V B (K + K')."""
        return sum(array.nbytes for array in jax.tree.leaves(self.pooled))

    def gather(self, rows: np.ndarray, view: int) -> PooledBatch:
        """One view of the images at these rows, all with mask 1."""
        pooled = jax.tree.map(lambda array: array[view, rows], self.pooled)
        return PooledBatch(pooled, self.labels[rows], np.ones(len(rows), np.float32))


def compute_features(
    step: PoolingStep,
    variables: Variables,
    key: jax.Array,
    images: Images,
    views: int,
    batch_size: int,
    mesh: jax.sharding.Mesh,
) -> FeatureCache:
    """Run every view of every image through the backbone once.

    Args:
        step: jitted, from `make_pooling_step`.
        variables: replicated on the mesh; a backbone that has not moved since.
        key: of the `TrainState`.
        images: of the training part; each is decoded once.
        views: V.
        batch_size: images a step. That of training makes the features bitwise (on CPU) those that
            a training step computes, another one those to rounding.
        mesh: whose devices share each batch.
    """
    keys = [view_key(key, view) for view in range(views)]
    pooled: Pooled | None = None
    for start, batch in zip(
        range(0, len(images), batch_size), ordered_batches(images, batch_size, mesh), strict=True
    ):
        rows = np.arange(start, start + batch_size, dtype=np.int32)
        parts = fetch([step(variables, batch, key, rows) for key in keys])
        if pooled is None:
            pooled = _room_for(parts[0], views, len(images))
        for view, part in enumerate(parts):
            _write(pooled, view, start, part)
    assert pooled is not None  # a split without images is refused long before
    return FeatureCache(pooled, images.part.labels)


def _room_for(part: Pooled, views: int, images: int) -> Pooled:
    """Arrays V B K for what comes as B' K."""
    return jax.tree.map(lambda a: np.empty((views, images, *a.shape[1:]), a.dtype), part)


def _write(pooled: Pooled, view: int, start: int, part: Pooled) -> None:
    """Copy a batch's features to their place; rows that only fill the batch fall away."""

    def write(whole: np.ndarray, features: np.ndarray) -> None:
        stop = min(start + len(features), whole.shape[1])
        whole[view, start:stop] = features[: stop - start]

    jax.tree.map(write, pooled, part)


def frozen_gather(
    cache: FeatureCache, images: Images, per_epoch: int, frozen_epochs: int
) -> Gather:
    """Features while the backbone is frozen, from then on what `images.take` gives.

    Args:
        cache: of `images`.
        images: of the training part.
        per_epoch: steps an epoch.
        frozen_epochs: how many epochs, from the first.
    """
    views = cache.pooled.final.shape[0]

    def gather(step: int, rows: np.ndarray) -> Any:
        epoch = step // per_epoch
        return cache.gather(rows, epoch % views) if epoch < frozen_epochs else images.take(rows)

    return gather

"""Cached features of a frozen backbone, computed once for some augmented views of every image.

A frozen backbone with running BatchNorm statistics is a fixed function, so its features are needed
once per view. View v of image i (its row in the training set) is augmented with `view_key(key, v)`
folded with i: it depends on seed, v and i only. Epoch e trains on view e mod V.
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
"""Folded into the run's key; steps fold in their number, which never gets this large."""


def view_key(key: jax.Array, view: int) -> jax.Array:
    """The key of a view, given that of the `TrainState`; each image folds in its row."""
    return jax.random.fold_in(jax.random.fold_in(key, _VIEWS), view)


@dataclasses.dataclass(frozen=True)
class FeatureCache:
    """Features float32 V B K of all views of all training images and labels int32 B, in host
    memory."""

    pooled: Pooled
    labels: np.ndarray

    @property
    def bytes(self) -> int:
        """Size in memory: 4 V B (K + K')."""
        return sum(array.nbytes for array in jax.tree.leaves(self.pooled))

    def gather(self, rows: np.ndarray, view: int) -> PooledBatch:
        """One view of the images in these rows, with mask 1."""
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
    """Run every view of every image through the backbone.

    Args:
        step: jitted, from `make_pooling_step`.
        variables: replicated on the mesh, with the pretrained backbone.
        key: of the `TrainState`.
        images: training images; each is decoded once.
        views: V.
        batch_size: images per step. The training batch size gives features that are bitwise those
            of a training step (on CPU), others differ by rounding.
    """
    keys = [view_key(key, view) for view in range(views)]
    pooled: Pooled | None = None
    for start, batch in zip(
        range(0, len(images), batch_size), ordered_batches(images, batch_size, mesh), strict=True
    ):
        rows = np.arange(start, start + batch_size, dtype=np.int32)
        parts = fetch([step(variables, batch, key, rows) for key in keys])
        if pooled is None:
            pooled = _allocate(parts[0], views, len(images))
        for view, part in enumerate(parts):
            _write(pooled, view, start, part)
    assert pooled is not None  # splits without images are refused earlier
    return FeatureCache(pooled, images.part.labels)


def _allocate(part: Pooled, views: int, images: int) -> Pooled:
    """Empty arrays V B K for features B' K."""
    return jax.tree.map(lambda a: np.empty((views, images, *a.shape[1:]), a.dtype), part)


def _write(pooled: Pooled, view: int, start: int, part: Pooled) -> None:
    """Copy the features of a batch into place, without padding."""

    def write(whole: np.ndarray, features: np.ndarray) -> None:
        stop = min(start + len(features), whole.shape[1])
        whole[view, start:stop] = features[: stop - start]

    jax.tree.map(write, pooled, part)


def frozen_gather(
    cache: FeatureCache, images: Images, per_epoch: int, frozen_epochs: int
) -> Gather:
    """`Gather` of cached features in the first `frozen_epochs`, and of images afterwards."""
    views = cache.pooled.final.shape[0]

    def gather(step: int, rows: np.ndarray) -> Any:
        epoch = step // per_epoch
        return cache.gather(rows, epoch % views) if epoch < frozen_epochs else images.take(rows)

    return gather

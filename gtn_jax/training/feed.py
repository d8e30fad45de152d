"""What the loop takes its batches from: images, or features while the backbone is frozen."""

import time
from typing import Any

import grain

from gtn_jax.data import pipeline
from gtn_jax.training.feature_cache import compute_features, frozen_gather
from gtn_jax.training.start import RunStart


def open_feed(start: RunStart) -> tuple[grain.DatasetIterator[Any], str | None]:
    """The batches after `start.step`, endless, and a line about features for a person.

    Where features are cached and the backbone is still frozen they are computed here, on resume
    too: the features have not changed. The iterator's state is the data position.
    """
    setup, state, train = start.setup, start.state, start.images["train"]
    data, epoch = setup.config.data, setup.epoch
    frozen_epochs, views = setup.config.training.freeze_epochs, data.cache_views
    gather, line = None, None
    if views and start.step < frozen_epochs * epoch.steps:
        started = time.monotonic()
        pool = setup.programs.pooling_step
        cache = compute_features(
            pool, state.variables, state.key, train, views, epoch.batch_size, setup.mesh
        )
        gather = frozen_gather(cache, train, epoch.steps, frozen_epochs)
        line = (
            f"cache   features of {len(train)} images, {views} views each: "
            f"{time.monotonic() - started:.1f} s, {cache.bytes / 2**20:.1f} MiB"
        )
    seed = setup.config.seed % 2**32
    batches = pipeline.training_batches(train, epoch.batch_size, data.last_batch, seed, gather)
    if start.position is not None:
        batches.set_state(start.position["batches"])
    return batches, line

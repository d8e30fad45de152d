"""What the loop takes its batches from: images, or features while the trunk is frozen."""

import time
from typing import Any, NamedTuple

import grain

from gtn_jax.config import Config
from gtn_jax.data import pipeline
from gtn_jax.training.feature_cache import compute_features, frozen_gather
from gtn_jax.training.setup import Prepared


class Feed(NamedTuple):
    """Batches of a run, from where it goes on.

    Attributes:
        batches: endless; its state is the data position.
        cache_seconds: that features took; 0 where none were computed.
        line: about them, for a person; None likewise.
    """

    batches: grain.DatasetIterator[Any]
    cache_seconds: float
    line: str | None


def open_feed(ready: Prepared, config: Config) -> Feed:
    """The batches after `ready.step`.

    Where features are cached and the trunk is still frozen they are computed here, on resume too:
    what a frozen trunk makes of the images has not changed.

    Args:
        ready: the run.
        config: of the run.
    """
    train, batch_size, per_epoch = ready.images["train"], ready.batch_size, ready.per_epoch
    frozen_epochs, views = config.training.freeze_epochs, config.data.cache_views
    gather, seconds, line = None, 0.0, None
    if views and ready.step < frozen_epochs * per_epoch:
        started, state = time.monotonic(), ready.state
        pool = ready.programs.pooling_step
        cache = compute_features(
            pool, state.variables, state.key, train, views, batch_size, ready.mesh
        )
        gather = frozen_gather(cache, train, per_epoch, frozen_epochs)
        seconds = time.monotonic() - started
        line = (
            f"cache   features of {len(train)} images, {views} views each: {seconds:.1f} s, "
            f"{cache.bytes / 2**20:.1f} MiB"
        )
    batches = pipeline.training_batches(
        train, batch_size, config.data.last_batch, config.seed % 2**32, gather
    )
    if ready.position is not None:
        batches.set_state(ready.position["batches"])
    return Feed(batches, seconds, line)

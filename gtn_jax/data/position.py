"""What a data position is a position in: images, their order, what is made of them.

Grain's own state is a number of batches. It fits any data set, seed and batch size, and would
silently skip and repeat images of another; so this goes with it.
"""

from typing import Any

from gtn_jax.config import DataConfig

_FIELDS = (
    "name",
    "last_batch",
    "image_size",
    "resize_size",
    "random_resized_crop",
    "random_flip",
    "random_shift_pixels",
    "small_image_size",
    "small_image_epochs",
    "feature_cache_views",
)


def describe(
    data: DataConfig, images: dict[str, Any], batch_size: int, seed: int
) -> dict[str, Any]:
    """Name -> value, JSON; names of config fields are theirs.

    Args:
        data: of the run.
        images: `choice.fingerprint` of the training images.
        batch_size: that the run trains with, which may be smaller than the config's.
        seed: of the order.
    """
    return {
        "seed": seed,
        "training images": images["images"],
        "digest of their names and labels": images["sha256"],
        "data.batch_size": batch_size,
        **{f"data.{field}": getattr(data, field) for field in _FIELDS},
    }


def check(kept: dict[str, Any] | None, now: dict[str, Any], where: str) -> None:
    """Refuse a position in other data.

    Args:
        kept: what `describe` gave when the position was saved; None in checkpoints older than it.
        now: what it gives now.
        where: the checkpoint, for the message.

    Raises:
        ValueError: they differ; each field is named.
    """
    changed = [
        f"{field}: {kept.get(field)!r} -> {value!r}"
        for field, value in now.items()
        if kept is not None and kept.get(field) != value
    ]
    if changed:
        raise ValueError(
            f"{where}: its data position is one in other batches; images would be skipped or "
            f"repeated.\nthen -> now: {'; '.join(changed)}\n"
            "Train with the same data on as many devices as before, or in another run folder"
        )

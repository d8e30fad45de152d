"""Identity of the data that a position belongs to.

Grain's state is only a number of batches; in other data, with another seed or batch size, it would
silently skip and repeat images.
"""

from typing import Any

from gtn_jax.config import DataConfig

_FIELDS = (
    "name", "last_batch", "image_size", "resize_size", "random_resized_crop", "random_flip",
    "random_shift_pixels", "small_image_size", "small_image_epochs", "feature_cache_views",
)  # fmt: skip


def describe(
    data: DataConfig, images: dict[str, Any], batch_size: int, seed: int
) -> dict[str, Any]:
    """A JSON-serializable description of the batches.

    `images` is `subsets.fingerprint` of the training images; `batch_size` is the effective one.
    """
    return {
        "seed": seed,
        "training images": images["images"],
        "digest of their names and labels": images["sha256"],
        "data.batch_size": batch_size,
        **{f"data.{field}": getattr(data, field) for field in _FIELDS},
    }


def check(saved: dict[str, Any] | None, now: dict[str, Any], where: str) -> None:
    """Compare a saved description (None in old checkpoints) with the current one; ValueError names
    each field that differs, and `where`, the checkpoint."""
    changed = [
        f"{field}: {saved.get(field)!r} -> {value!r}"
        for field, value in now.items()
        if saved is not None and saved.get(field) != value
    ]
    if changed:
        raise ValueError(
            f"{where}: its data position is one in other batches; images would be skipped or "
            f"repeated.\nthen -> now: {'; '.join(changed)}\n"
            "Train with the same data on as many devices as before, or in another run folder"
        )

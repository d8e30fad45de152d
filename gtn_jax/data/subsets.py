"""Subsets of splits: seeded held-out shares and few-shot selections.

Without a validation (or test) split, a share of every class is held out; frames of a video stay
together.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gtn_jax.config import DataConfig
from gtn_jax.data.clips import clip_ids, group_ids
from gtn_jax.data.splits import Split

_VALIDATION, _CHOICE = 2, 1  # random streams of one seed


class Subset(NamedTuple):
    """Some images of a split."""

    split: Split
    positions: np.ndarray  # int64 B, sorted, in the split
    labels: np.ndarray  # int32 B
    files: np.ndarray  # str B, names in the source
    sizes: np.ndarray  # int B 2, height and width of the stored images in pixels
    split_sizes: np.ndarray | None = None  # int D 2, distinct sizes of the split; None: as `sizes`

    def only(self, rows: np.ndarray) -> "Subset":
        """The subset at `rows`: bool B, or sorted integers."""
        labels, files, sizes = (array[rows] for array in (self.labels, self.files, self.sizes))
        return Subset(self.split, self.positions[rows], labels, files, sizes, self.split_sizes)


def choose(splits: dict[str, Split], data: DataConfig, seed: int) -> dict[str, Subset]:
    """The subsets for training, validation and test, in this order where they exist.

    `validation_fraction` applies without a validation split, `test_fraction` if there is only
    train; `train_images_per_class` (clips, for videos) selects from the remaining images. The test
    share does not depend on `seed`.
    """
    return divide({name: whole(split) for name, split in splits.items()}, data, seed)


def divide(parts: dict[str, Subset], data: DataConfig, seed: int) -> dict[str, Subset]:
    """`choose` for subsets that are entire splits."""
    parts = {**parts}
    only_train = set(parts) == {"train"}
    if only_train and data.test_fraction:
        _hold_out(parts, "test", data.test_fraction, [0])
    if "validation" not in parts and data.validation_fraction:
        _hold_out(parts, "validation", data.validation_fraction, [seed, _VALIDATION])
    if data.train_images_per_class is not None:
        train = parts["train"]
        units = clip_ids(train.files) if train.split.clips else np.arange(len(train.labels))
        parts["train"] = train.only(
            choose_per_class(train.labels, units, data.train_images_per_class, seed)
        )
    order = ["train", "validation", "test"]
    return {name: parts[name] for name in sorted(parts, key=order.index)}


def whole(split: Split) -> Subset:
    """All images of a split; ValueError for an invalid index or a label out of range."""
    labels, files, sizes = split.index()
    if len(labels) != len(split):
        raise ValueError(
            f"{split.folder or split.name}: an index of {len(labels):,} images for the "
            f"{len(split):,} of {split.name}; remove this folder and prepare the data set again"
        )
    # The loss would treat such a label as no class and silently learn nothing from the image.
    wrong = np.flatnonzero(~np.isin(labels, np.arange(len(split.classes))))
    if wrong.size:
        first = wrong[0]
        raise ValueError(
            f"{split.folder or split.name}: {wrong.size:,} labels of {split.name} are of no class, "
            f"first that of image {first} ({files[first]}): {labels[first]}, wanted 0 to "
            f"{len(split.classes) - 1}; prepare the data set again"
        )
    distinct = np.unique(sizes, axis=0)
    return Subset(split, np.arange(len(split)), labels.astype(np.int32), files, sizes, distinct)


def fingerprint(part: Subset) -> dict[str, Any]:
    """Number of images, and a digest of their labels and names in order."""
    rows = zip(part.labels.tolist(), part.files.tolist(), strict=True)
    lines = "".join(f"{label} {file}\n" for label, file in rows)
    digest = hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()
    return {"images": len(part.labels), "sha256": digest}


def choose_per_class(labels: np.ndarray, units: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Select `count` random units of every class, or all of a smaller class: bool B.

    `labels` and `units` are int B; images of a unit have one label and are selected together.
    """
    generator = np.random.default_rng([seed, _CHOICE])
    members = (np.unique(units[labels == label]) for label in np.unique(labels))
    chosen = [generator.permutation(of_class)[:count] for of_class in members]
    return np.isin(units, np.concatenate(chosen))


def stratified(
    labels: np.ndarray, units: np.ndarray, fraction: float, seeds: Sequence[int]
) -> np.ndarray:
    """Select a random `fraction` of the units of every class, rounded, at least one: bool B.

    `labels` and `units` are int B; images of a unit have one label and are selected together. A
    class never loses its last unit.
    """
    generator = np.random.default_rng(list(seeds))
    chosen = []
    for label in np.unique(labels):
        members = generator.permutation(np.unique(units[labels == label]))
        count = max(1, round(fraction * len(members)))
        chosen.append(members[: min(count, len(members) - 1)])
    return np.isin(units, np.concatenate(chosen))


def _hold_out(parts: dict[str, Subset], name: str, fraction: float, seeds: Sequence[int]) -> None:
    """Move a share of `train` to a new subset."""
    train = parts["train"]
    units = group_ids(train.files) if train.split.clips else np.arange(len(train.labels))
    share = stratified(train.labels, units, fraction, seeds)
    if share.any():
        parts["train"], parts[name] = train.only(~share), train.only(share)

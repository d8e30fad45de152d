"""Which images of which split a run uses: what is held out, what is chosen, all by seeds.

A data set may come without a validation split, or with training images only; then a share of every
class is held out here. Nothing is decoded.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gtn_jax.config import DataConfig
from gtn_jax.data.sources import Split

_VALIDATION, _CHOICE = 2, 1  # streams of one seed


class Part(NamedTuple):
    """Some images of a split.

    Attributes:
        split: where they are.
        positions: int64 B, sorted, in the split.
    """

    split: Split
    positions: np.ndarray


def choose(splits: dict[str, Split], data: DataConfig, seed: int) -> dict[str, Part]:
    """What a run trains, validates and tests on.

    Args:
        splits: of `sources.open_splits`.
        data: its validation_fraction holds out where there is no validation split, its
            test_fraction where there is nothing but train, its train_images_per_class chooses
            from what is left.
        seed: of the held-out validation images and of the choice; test images do not depend on it.

    Returns:
        Split name -> part; names in the order train, validation, test where they exist.
    """
    parts = {name: Part(split, np.arange(len(split))) for name, split in splits.items()}
    only_train = set(parts) == {"train"}
    if only_train and data.test_fraction:
        _hold_out(parts, "test", data.test_fraction, [0])
    if "validation" not in parts and data.validation_fraction:
        _hold_out(parts, "validation", data.validation_fraction, [seed, _VALIDATION])
    if data.train_images_per_class is not None:
        split, positions = parts["train"]
        labels = split.labels()[positions]
        chosen = choose_per_class(labels, data.train_images_per_class, seed)
        parts["train"] = Part(split, positions[chosen])
    order = ["train", "validation", "test"]
    return {name: parts[name] for name in sorted(parts, key=order.index)}


def choose_per_class(labels: np.ndarray, count: int, seed: int) -> np.ndarray:
    """A seeded choice of `count` images of every class (all of a class that has fewer).

    Args:
        labels: int B.
        count: images a class.
        seed: the same seed, the same choice.

    Returns:
        int64, sorted positions in `labels`.
    """
    generator = np.random.default_rng([seed, _CHOICE])
    chosen = [
        generator.permutation(np.flatnonzero(labels == label))[:count]
        for label in np.unique(labels)
    ]
    return np.sort(np.concatenate(chosen))


def stratified(labels: np.ndarray, fraction: float, seeds: Sequence[int]) -> np.ndarray:
    """A seeded share of every class: `fraction` of it, rounded, but at least one image.

    Args:
        labels: int B.
        fraction: in (0, 1).
        seeds: the same seeds, the same share.

    Returns:
        bool B, True for the share. A class of one image stays out of it whole.
    """
    generator = np.random.default_rng(list(seeds))
    share = np.zeros(len(labels), bool)
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        count = max(1, round(fraction * len(members)))
        share[members[: min(count, len(members) - 1)]] = True
    return share


def _hold_out(parts: dict[str, Part], name: str, fraction: float, seeds: Sequence[int]) -> None:
    """Move a share of the part `train` to a new part."""
    split, positions = parts["train"]
    share = stratified(split.labels()[positions], fraction, seeds)
    if share.any():
        parts["train"] = Part(split, positions[~share])
        parts[name] = Part(split, positions[share])

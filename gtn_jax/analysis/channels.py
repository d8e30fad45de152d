"""Which channels of the pooled features a classifier lives on: accuracy against channels kept.

A channel that is dropped stands still: the gate sees its mean over training images in place of the
feature, the classifier the mean of what the gate let through. That costs what the channel tells
images apart by. Channels are ranked by what they add to the logit of the right class, E[g f Wc], in
training images; `ChannelScores` has controls beside it. NumPy, but for the gate itself.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table

from gtn_jax.inference.outputs import Head, RunOutputs, head_of, outputs_of
from gtn_jax.inference.restore import open_split, restore

FRACTIONS = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125, 0.0625, 0.03125)
"""Of the channels, that a curve shows."""


class ChannelMeans(NamedTuple):
    """Over training images.

    Attributes:
        features: float64 K, of the pooled features.
        gated: float64 K, of what the gate lets through of them.
    """

    features: np.ndarray
    gated: np.ndarray


class ChannelScores(NamedTuple):
    """What rankings are made of, from training images.

    Attributes:
        contribution: float64 K, mean over images of (g f - its mean) (Wc of the image's class - the
            mean of Wc over classes): how far the channel pulls the right logit above the others.
        weight: float64 K, norm of the centered Wc times the deviation of g f: how much it moves
            logits, rightly or not.
        random: float64 K.
    """

    contribution: np.ndarray
    weight: np.ndarray
    random: np.ndarray


class ChannelCurve(NamedTuple):
    """Accuracy against channels kept.

    Attributes:
        kept: int P, how many, falling.
        accuracy: ranking -> float64 P, on the images of the curve.
        order: ranking -> int K, the best channel first.
    """

    kept: np.ndarray
    accuracy: dict[str, np.ndarray]
    order: dict[str, np.ndarray]


def channel_means(head: Head, training: RunOutputs) -> ChannelMeans:
    """What a dropped channel is replaced by.

    Args:
        head: of a run.
        training: outputs of its training images.
    """
    gated = np.asarray(head.gate(training.features), np.float64)
    return ChannelMeans(training.features.mean(axis=0, dtype=np.float64), gated.mean(axis=0))


def channel_scores(head: Head, training: RunOutputs) -> ChannelScores:
    """How much each channel matters; arguments as of `channel_means`."""
    gated = np.asarray(head.gate(training.features), np.float64)
    kernel = head.kernel - head.kernel.mean(axis=1, keepdims=True, dtype=np.float64)
    moved = gated - gated.mean(axis=0)
    return ChannelScores(
        np.mean(moved * kernel[:, training.labels].T, axis=0),
        np.linalg.norm(kernel, axis=1) * gated.std(axis=0),
        np.random.default_rng(0).random(len(kernel)),
    )


def kept_logits(
    head: Head, means: ChannelMeans, features: np.ndarray, kept: Sequence[int] | np.ndarray
) -> np.ndarray:
    """What a head says of features of which only some channels move: float32 B K -> float64 B N."""
    moves = np.isin(np.arange(features.shape[1]), kept)
    seen = np.where(moves, features, means.features).astype(np.float32)
    return head.logits(np.where(moves, np.asarray(head.gate(seen), np.float64), means.gated))


def channel_curve(head: Head, training: RunOutputs, images: RunOutputs) -> ChannelCurve:
    """Accuracy on some images when channels are dropped, the least of each ranking first.

    Args:
        head: of a run.
        training: outputs of its training images, which rank.
        images: outputs of others, which judge.
    """
    means, scores = channel_means(head, training), channel_scores(head, training)
    width = images.features.shape[1]
    counts = {max(1, round(fraction * width)) for fraction in FRACTIONS}
    kept = np.array(sorted(counts, reverse=True))
    order = {name: np.argsort(-score, kind="stable") for name, score in scores._asdict().items()}

    def accuracy(channels: np.ndarray) -> float:
        logits = kept_logits(head, means, images.features, channels)
        return float(np.mean(logits.argmax(axis=1) == images.labels))

    curves = {
        name: np.array([accuracy(ranked[:count]) for count in kept])
        for name, ranked in order.items()
    }
    return ChannelCurve(kept, curves, order)


def curve_of(
    workdir: Path, split: str, data_name: str | None = None, data_dir: str | None = None
) -> ChannelCurve:
    """The curve of a run on a split; arguments and errors as of `inference.outputs.run_outputs`."""
    run = restore(workdir)
    training, images = (
        outputs_of(run, open_split(run, workdir, name, data_name, data_dir))
        for name in ("train", split)
    )
    return channel_curve(head_of(run), training, images)


def curve_table(curve: ChannelCurve) -> Table:
    """A row a number of channels, a column a ranking."""
    table = Table(box=None, pad_edge=False)
    table.add_column("channels", justify="right")
    for name in curve.accuracy:
        table.add_column(f"by {name} %", justify="right", no_wrap=True)
    for place, count in enumerate(curve.kept):
        values = (f"{100 * accuracy[place]:.2f}" for accuracy in curve.accuracy.values())
        table.add_row(str(count), *values)
    return table


def curve_arrays(curve: ChannelCurve) -> dict[str, np.ndarray]:
    """For an .npz: `channels_kept`, `channels_accuracy_RANKING`, `channels_order_RANKING`."""
    arrays = {"channels_kept": curve.kept}
    for name, accuracy in curve.accuracy.items():
        arrays[f"channels_accuracy_{name}"] = accuracy
        arrays[f"channels_order_{name}"] = curve.order[name]
    return arrays

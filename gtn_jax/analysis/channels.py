"""Accuracy as a function of the number of pooled feature channels that are kept.

A dropped channel is replaced by its mean over training images, before the gate and after it, so
that only its variation between images is lost. NumPy, except for the gate.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table

from gtn_jax.inference.outputs import Head, RunOutputs, head_of, outputs_of
from gtn_jax.inference.restore import open_split, restore

FRACTIONS = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125, 0.0625, 0.03125)
"""Fractions of the channels at which a curve is evaluated."""


class ChannelMeans(NamedTuple):
    """Means of the features and of the gated features over training images, float64 K each."""

    features: np.ndarray
    gated: np.ndarray


class ChannelScores(NamedTuple):
    """Rankings of channels, computed on training images; higher scores are kept longer.

    Attributes:
        contribution: float64 K, mean over images of (g f - its mean) (Wc of the image's class - the
            mean of Wc over classes): contribution to the logit of the correct class.
        weight: float64 K, norm of the centered Wc times the standard deviation of g f; a control.
        random: float64 K; a control.
    """

    contribution: np.ndarray
    weight: np.ndarray
    random: np.ndarray


class ChannelCurve(NamedTuple):
    """Accuracy against numbers of channels `kept`, int P, decreasing.

    `accuracy` maps a ranking to float64 P, `order` to int K, the best channel first.
    """

    kept: np.ndarray
    accuracy: dict[str, np.ndarray]
    order: dict[str, np.ndarray]


def channel_means(head: Head, training: RunOutputs) -> ChannelMeans:
    """Replacements for dropped channels."""
    gated = np.asarray(head.gate(training.features), np.float64)
    return ChannelMeans(training.features.mean(axis=0, dtype=np.float64), gated.mean(axis=0))


def channel_scores(head: Head, training: RunOutputs) -> ChannelScores:
    """Scores of all channels under each ranking."""
    gated = np.asarray(head.gate(training.features), np.float64)
    kernel = head.kernel - head.kernel.mean(axis=1, keepdims=True, dtype=np.float64)
    centered = gated - gated.mean(axis=0)
    return ChannelScores(
        np.mean(centered * kernel[:, training.labels].T, axis=0),
        np.linalg.norm(kernel, axis=1) * gated.std(axis=0),
        np.random.default_rng(0).random(len(kernel)),
    )


def kept_logits(
    head: Head, means: ChannelMeans, features: np.ndarray, kept: Sequence[int] | np.ndarray
) -> np.ndarray:
    """Logits when only the channels `kept` vary: float32 B K -> float64 B N."""
    is_kept = np.isin(np.arange(features.shape[1]), kept)
    inputs = np.where(is_kept, features, means.features).astype(np.float32)
    return head.logits(np.where(is_kept, np.asarray(head.gate(inputs), np.float64), means.gated))


def channel_curve(head: Head, training: RunOutputs, images: RunOutputs) -> ChannelCurve:
    """Rank channels on `training`, and measure accuracy on `images` with the best ones kept."""
    means, scores = channel_means(head, training), channel_scores(head, training)
    width = images.features.shape[1]
    counts = {max(1, round(fraction * width)) for fraction in FRACTIONS}
    kept = np.array(sorted(counts, reverse=True))
    order = {name: np.argsort(-score, kind="stable") for name, score in scores._asdict().items()}

    def accuracy(channels: np.ndarray) -> float:
        logits = kept_logits(head, means, images.features, channels)
        return float(np.mean(logits.argmax(axis=1) == images.labels))

    curves = {name: np.array([accuracy(o[:count]) for count in kept]) for name, o in order.items()}
    return ChannelCurve(kept, curves, order)


def curve_of(
    workdir: Path, split: str, data_name: str | None = None, data_dir: str | None = None
) -> ChannelCurve:
    """The curve of a run on a split; arguments and errors are those of `run_outputs`."""
    run = restore(workdir)
    training, images = (
        outputs_of(run, open_split(run, workdir, name, data_name, data_dir))
        for name in ("train", split)
    )
    return channel_curve(head_of(run), training, images)


def curve_table(curve: ChannelCurve) -> Table:
    """A row per number of channels, a column per ranking."""
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

"""Statistics and plots of a gate that multiplies the features: how far it opens, for which classes,
and whether it depends on the image.

The gate of a trained network is replaced by other factors: logits = classifier(factor * features).
If its mean, or the gate of another image, classifies as well, the gate does not depend on the
image. Effective numbers are exp of the entropy of shares (Hill, "Diversity and evenness", 1973):
K equal shares count as K channels. NumPy; plots need matplotlib, the extra "plots".
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.table import Table

from gtn_jax.analysis.channels import ChannelCurve, curve_arrays
from gtn_jax.files import write_arrays
from gtn_jax.inference.outputs import RunOutputs

_INCHES = (6.4, 3.6)
_MOST_CHANNELS = 64
_NO_FACTOR = ("none", "mlp")
_FACTORS = {
    "gate": "the gate",
    "mean": "its mean over all images",
    "class_mean": "its mean over the image's class (uses the label)",
    "shuffled": "another image's gate",
    "half": "one half",
    "one": "one",
}


class GateStatistics(NamedTuple):
    """Statistics over B images, K channels and N classes.

    Attributes:
        mean: float64 K, of the gate over images.
        deviation: float64 K, its standard deviation.
        class_mean: float64 N K, over the images of each class; NaN for a class without images.
        effective_gate_channels: exp of the entropy of the mean gate's shares, 1 to K.
        effective_channels: the same for the mean of the gated features, the classifier's input.
        between_classes: fraction of the gate's variance that is between classes, 0 to 1; NaN for a
            constant gate.
        accuracy: factor -> accuracy: `gate`; `mean` over the split; `class_mean`, which uses the
            label and so is no classifier; `shuffled`, another image's gate; `half`; `one`.
        similarity: float64 N N, correlation of classes' mean gates after subtracting each channel's
            mean over classes; NaN if a class has no images, or gates do not vary.
        shared_channels: int N 5, the channels most open, beyond their mean over classes, for both a
            class and the most similar other class.
    """

    mean: np.ndarray
    deviation: np.ndarray
    class_mean: np.ndarray
    effective_gate_channels: float
    effective_channels: float
    between_classes: float
    accuracy: dict[str, float]
    similarity: np.ndarray
    shared_channels: np.ndarray


def gate_statistics(outputs: RunOutputs) -> GateStatistics:
    """Compute all statistics of a split.

    Raises:
        ValueError: the run's gate does not multiply the features.
    """
    if outputs.gate_kind in _NO_FACTOR:
        raise ValueError(
            f"model.gate: {outputs.gate_kind} puts no factor on the features, so there is no gate "
            "to look at; gates are half, constant, sigmoid and identity"
        )
    gate, features = outputs.gate.astype(np.float64), outputs.features.astype(np.float64)
    labels, classes = outputs.labels, len(outputs.classes)
    mean, deviation = gate.mean(axis=0), gate.std(axis=0)
    class_mean = np.full((classes, gate.shape[1]), np.nan)
    for label in np.unique(labels):
        class_mean[label] = gate[labels == label].mean(axis=0)
    between = np.mean((class_mean[labels] - mean) ** 2, axis=0).sum()
    total = (deviation**2).sum()
    shuffled = gate[np.random.default_rng(0).permutation(len(gate))]
    factors = {
        "gate": gate, "mean": mean, "class_mean": class_mean[labels], "shuffled": shuffled,
        "half": np.full_like(mean, 0.5), "one": np.ones_like(mean),
    }  # fmt: skip
    accuracy = {name: _accuracy(factor * features, outputs) for name, factor in factors.items()}
    centered = class_mean - np.nanmean(class_mean, axis=0)
    similarity = _correlations(centered)
    return GateStatistics(
        mean,
        deviation,
        class_mean,
        effective_number(mean),
        effective_number((gate * features).mean(axis=0)),
        float(between / total) if total > 1e-12 else float("nan"),
        accuracy,
        similarity,
        _shared(centered, similarity),
    )


def effective_number(amounts: np.ndarray) -> float:
    """exp of the entropy of the shares of `amounts`, K values >= 0, not all 0."""
    shares = amounts[amounts > 0] / amounts.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def similar_pairs(statistics: GateStatistics, most: int) -> list[tuple[int, int, float]]:
    """At most `most` pairs of classes and the correlation of their gates, highest first."""
    rows, columns = np.triu_indices(len(statistics.similarity), 1)
    values = statistics.similarity[rows, columns]
    order = [place for place in np.argsort(-values) if np.isfinite(values[place])]
    return [(int(rows[i]), int(columns[i]), float(values[i])) for i in order[:most]]


def _accuracy(gated: np.ndarray, outputs: RunOutputs) -> float:
    logits = gated @ outputs.kernel.astype(np.float64) + outputs.bias
    return float(np.mean(logits.argmax(axis=1) == outputs.labels))


def _correlations(centered: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(centered, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        unit = np.where(lengths[:, None] > 1e-9, centered / lengths[:, None], np.nan)
    return unit @ unit.T


def _shared(centered: np.ndarray, similarity: np.ndarray, channels: int = 5) -> np.ndarray:
    others = np.where(np.eye(len(similarity), dtype=bool), -np.inf, similarity)
    nearest = np.where(np.isnan(others), -np.inf, others).argmax(axis=1)
    together = np.minimum(centered, centered[nearest])
    return np.argsort(-np.nan_to_num(together), axis=1, kind="stable")[:, :channels]


def write_gates(
    path: Path,
    outputs: RunOutputs,
    statistics: GateStatistics,
    split: str,
    curve: ChannelCurve | None = None,
) -> None:
    """Write an .npz: every field of the statistics, `accuracy_NAME` per factor, classes and split.

    With a curve also the arrays of `curve_arrays`.

    Raises:
        ValueError: it cannot be written.
    """
    arrays = {k: np.asarray(v) for k, v in statistics._asdict().items() if k != "accuracy"}
    arrays |= {f"accuracy_{name}": np.asarray(v) for name, v in statistics.accuracy.items()}
    arrays |= {"classes": np.array(outputs.classes), "split": np.array(split)}
    write_arrays(path, arrays | ({} if curve is None else curve_arrays(curve)))


def accuracy_table(statistics: GateStatistics) -> Table:
    """Accuracy with each factor in place of the gate."""
    table = Table(box=None, pad_edge=False)
    table.add_column("factor on the features", no_wrap=True)
    table.add_column("accuracy %", justify="right")
    for name, accuracy in statistics.accuracy.items():
        table.add_row(_FACTORS[name], f"{100 * accuracy:.2f}")
    return table


def in_lines(outputs: RunOutputs, statistics: GateStatistics) -> list[str]:
    """The other statistics as lines of text."""
    channels = len(statistics.mean)
    lines = [
        f"gate      {outputs.gate_kind}: mean {statistics.mean.mean():.3f}, over channels "
        f"{statistics.mean.min():.3f} to {statistics.mean.max():.3f}; standard deviation over "
        f"images {statistics.deviation.mean():.4f}",
        f"channels  {channels}; effective number: {statistics.effective_gate_channels:.0f} "
        f"of the gate, {statistics.effective_channels:.0f} of the gated features",
    ]
    if np.isfinite(statistics.between_classes):
        share = 100 * statistics.between_classes
        lines.append(f"variance  {share:.0f} % of the gate's variance is between classes")
    for first, second, similarity in similar_pairs(statistics, 3):
        names = f"{outputs.classes[first]} and {outputs.classes[second]}"
        lines.append(f"similar   {names}: correlation of their gates {similarity:.2f}")
    return lines


def has_matplotlib() -> bool:
    """Whether plots can be drawn."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        return False
    return True


def draw(
    statistics: GateStatistics,
    classes: tuple[str, ...],
    folder: Path,
    curve: ChannelCurve | None = None,
) -> list[Path]:
    """Write PNGs openness, class_gates, similar_classes, replacements and, with a curve, channels.

    Existing files in `folder` are replaced. Returns the files written.
    """
    from matplotlib.figure import Figure  # unlike pyplot without a window system and global state

    pictures: dict[str, Callable[[Any], None]] = {
        "openness": lambda axes: _openness(axes, statistics),
        "class_gates": lambda axes: _class_gates(axes, statistics, classes),
        "similar_classes": lambda axes: _similar_classes(axes, statistics, classes),
        "replacements": lambda axes: _replacements(axes, statistics),
    }
    if curve is not None:
        pictures["channels"] = lambda axes: _channels(axes, curve)
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, picture in pictures.items():
        figure = Figure(_INCHES, layout="constrained")
        picture(figure.subplots())
        files.append(folder / f"{name}.png")
        figure.savefig(files[-1], dpi=150, metadata={"Software": None})
    return files


def _openness(axes: Any, statistics: GateStatistics) -> None:
    order = np.argsort(-statistics.mean)
    mean, deviation = statistics.mean[order], statistics.deviation[order]
    places = np.arange(len(mean))
    axes.fill_between(places, mean - deviation, mean + deviation, alpha=0.3, label="± deviation")
    axes.plot(places, mean, label="mean over images")
    axes.set(xlabel="channel, by mean gate", ylabel="gate", title="Mean gate of each channel")
    axes.legend()


def _class_gates(axes: Any, statistics: GateStatistics, classes: tuple[str, ...]) -> None:
    spread = np.nan_to_num(np.nanstd(statistics.class_mean, axis=0))
    chosen = np.sort(np.argsort(-spread, kind="stable")[:_MOST_CHANNELS])
    shown = axes.imshow(statistics.class_mean[:, chosen], aspect="auto", interpolation="nearest")
    axes.figure.colorbar(shown, label="mean gate")
    _name_rows(axes, classes)
    axes.set(
        xlabel=f"the {len(chosen)} channels that vary most between classes",
        title="Mean gate of each class",
    )


def _similar_classes(axes: Any, statistics: GateStatistics, classes: tuple[str, ...]) -> None:
    shown = axes.imshow(
        statistics.similarity, vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest"
    )
    axes.figure.colorbar(shown, label="correlation of gates")
    _name_rows(axes, classes)
    axes.set(xlabel="class", title="Similarity of class gates")


def _replacements(axes: Any, statistics: GateStatistics) -> None:
    names = [name.replace("_", " ") for name in statistics.accuracy]
    values = [100 * value for value in statistics.accuracy.values()]
    axes.bar_label(axes.barh(names, values), fmt="%.1f")
    axes.invert_yaxis()
    axes.set(xlabel="accuracy %", xlim=(0, 110), title="Accuracy with the gate replaced")


def _channels(axes: Any, curve: ChannelCurve) -> None:
    for name, accuracy in curve.accuracy.items():
        axes.plot(curve.kept, 100 * accuracy, marker="o", markersize=3, label=f"by {name}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(curve.kept, [str(count) for count in curve.kept], fontsize=7)
    axes.set(xlabel="channels kept", ylabel="accuracy %", title="Accuracy with fewer channels")
    axes.legend()


def _name_rows(axes: Any, classes: tuple[str, ...]) -> None:
    if len(classes) <= 30:
        axes.set_yticks(range(len(classes)), [name[:20] for name in classes], fontsize=7)
    else:
        axes.set_ylabel("class")

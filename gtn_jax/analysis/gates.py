"""What a gate learned: how far it opens, for which classes, and whether it matters which image.

A gate that is a factor on the features can be taken out of a trained network and replaced: logits =
classifier(factor * features). If the mean gate, or another image's, classifies as well, the gate
does not look at the image. Entropy and effective numbers are those of ecology (Hill, "Diversity and
evenness", 1973): exp of the entropy of shares, so K equal shares count as K channels.
NumPy only; gate_pictures.py draws.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.table import Table

from gtn_jax.analysis.channels import ChannelCurve, curve_arrays
from gtn_jax.files import write_arrays
from gtn_jax.inference.outputs import RunOutputs

_NO_FACTOR = ("none", "mlp")
_FACTORS = {
    "gate": "the gate",
    "mean": "its mean over all images",
    "class_mean": "its mean over the image's class (knows the label)",
    "shuffled": "another image's gate",
    "half": "one half",
    "one": "one",
}
"""Name -> what stands in the gate's place."""


class GateStatistics(NamedTuple):
    """Of B images, K channels and N classes.

    Attributes:
        mean: float64 K, of the gate over images.
        deviation: float64 K, its standard deviation.
        class_mean: float64 N K, over the images of each class; NaN where a class has none.
        effective_gate_channels: exp of the entropy of the mean gate's shares, 1 to K.
        effective_channels: the same of the mean of gate times feature: what the classifier gets.
        between_classes: share of the gate's variance that is between classes, 0 to 1; NaN where it
            does not vary.
        accuracy: what the factor is -> accuracy: `gate`; `mean` over the split; `class_mean`, which
            knows the label and so is no classifier; `shuffled`, another image's; `half`; `one`.
        similarity: float64 N N, correlation of classes' mean gates, each channel's mean over
            classes taken off; NaN where a class has no images, or gates do not vary.
        shared_channels: int N 5, the channels that are most open for a class and its most similar
            one together, beyond their mean over classes.
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
    """Everything above.

    Args:
        outputs: of a split, from `run_outputs`.

    Raises:
        ValueError: the run's gate is no factor on the features.
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
    """exp of the entropy of shares: how many equal ones would be as spread out.

    Args:
        amounts: K, none below 0, not all 0.
    """
    shares = amounts[amounts > 0] / amounts.sum()
    return float(np.exp(-np.sum(shares * np.log(shares))))


def similar_pairs(statistics: GateStatistics, most: int) -> list[tuple[int, int, float]]:
    """Pairs of classes whose gates are most alike, the most similar first."""
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
    """Write an .npz: each field of the statistics, `accuracy_NAME` for each factor, names, split.

    Of a curve also `channels_kept`, `channels_accuracy_RANKING` and `channels_order_RANKING`.

    Raises:
        ValueError: it cannot be written.
    """
    arrays = {k: np.asarray(v) for k, v in statistics._asdict().items() if k != "accuracy"}
    arrays |= {f"accuracy_{name}": np.asarray(v) for name, v in statistics.accuracy.items()}
    arrays |= {"classes": np.array(outputs.classes), "split": np.array(split)}
    write_arrays(path, arrays | ({} if curve is None else curve_arrays(curve)))


def accuracy_table(statistics: GateStatistics) -> Table:
    """What stands in the gate's place, and how many images are still right."""
    table = Table(box=None, pad_edge=False)
    table.add_column("factor on the features", no_wrap=True)
    table.add_column("accuracy %", justify="right")
    for name, accuracy in statistics.accuracy.items():
        table.add_row(_FACTORS[name], f"{100 * accuracy:.2f}")
    return table


def in_lines(outputs: RunOutputs, statistics: GateStatistics) -> list[str]:
    """The other figures, for a person."""
    channels = len(statistics.mean)
    lines = [
        f"gate      {outputs.gate_kind}: mean {statistics.mean.mean():.3f}, over channels "
        f"{statistics.mean.min():.3f} to {statistics.mean.max():.3f}; standard deviation over "
        f"images {statistics.deviation.mean():.4f}",
        f"channels  {channels}; as open as {statistics.effective_gate_channels:.0f} equal ones, "
        f"what passes is as spread as {statistics.effective_channels:.0f}",
    ]
    if np.isfinite(statistics.between_classes):
        share = 100 * statistics.between_classes
        lines.append(f"variance  {share:.0f} % of the gate's is between classes")
    for first, second, similarity in similar_pairs(statistics, 3):
        names = f"{outputs.classes[first]} and {outputs.classes[second]}"
        lines.append(f"alike     {names}: correlation of their gates {similarity:.2f}")
    return lines

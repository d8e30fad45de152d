"""Statistics of a gate -> pictures. Needs matplotlib, the extra "plots"."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gtn_jax.analysis.channels import ChannelCurve
from gtn_jax.analysis.gates import GateStatistics

_INCHES = (6.4, 3.6)
_MOST_CHANNELS = 64


def has_matplotlib() -> bool:
    """Whether pictures can be drawn here."""
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
    """Four PNGs: openness, class_gates, similar_classes, replacements; and channels of a curve.

    Args:
        statistics: of a split.
        classes: names in label order.
        folder: made if need be; pictures in it are replaced.
        curve: of the same split.

    Returns:
        The files written.
    """
    from matplotlib.figure import Figure  # which no window system and no global state is behind

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
    axes.set(xlabel="channel, the most open first", ylabel="gate", title="How open each channel is")
    axes.legend()


def _class_gates(axes: Any, statistics: GateStatistics, classes: tuple[str, ...]) -> None:
    spread = np.nan_to_num(np.nanstd(statistics.class_mean, axis=0))
    chosen = np.sort(np.argsort(-spread, kind="stable")[:_MOST_CHANNELS])
    shown = axes.imshow(statistics.class_mean[:, chosen], aspect="auto", interpolation="nearest")
    axes.figure.colorbar(shown, label="mean gate")
    _name_rows(axes, classes)
    axes.set(
        xlabel=f"the {len(chosen)} channels that differ most between classes",
        title="The gate of each class",
    )


def _similar_classes(axes: Any, statistics: GateStatistics, classes: tuple[str, ...]) -> None:
    shown = axes.imshow(
        statistics.similarity, vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest"
    )
    axes.figure.colorbar(shown, label="correlation of gates")
    _name_rows(axes, classes)
    axes.set(xlabel="class", title="Classes that use the same channels")


def _replacements(axes: Any, statistics: GateStatistics) -> None:
    names = [name.replace("_", " ") for name in statistics.accuracy]
    values = [100 * value for value in statistics.accuracy.values()]
    axes.bar_label(axes.barh(names, values), fmt="%.1f")
    axes.invert_yaxis()
    axes.set(xlabel="accuracy %", xlim=(0, 110), title="With something else in the gate's place")


def _channels(axes: Any, curve: ChannelCurve) -> None:
    for name, accuracy in curve.accuracy.items():
        axes.plot(curve.kept, 100 * accuracy, marker="o", markersize=3, label=f"by {name}")
    axes.set_xscale("log", base=2)
    axes.set_xticks(curve.kept, [str(count) for count in curve.kept], fontsize=7)
    axes.set(xlabel="channels kept", ylabel="accuracy %", title="Accuracy against channels kept")
    axes.legend()


def _name_rows(axes: Any, classes: tuple[str, ...]) -> None:
    if len(classes) <= 30:
        axes.set_yticks(range(len(classes)), [name[:20] for name in classes], fontsize=7)
    else:
        axes.set_ylabel("class")

"""Files of `gtn benchmark --growth` -> a small picture of each axis, as SVG.

Needs matplotlib, the extra "plots". The same figures give the same bytes.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gtn_jax.benchmark.growth import AXES, Curve, curves
from gtn_jax.benchmark.rows import Row

_INCHES = (3.6, 2.7)


def draw(documents: Sequence[tuple[dict[str, Any], list[Row]]], folder: Path) -> list[Path]:
    """One picture for each axis that was measured: costs side by side, a line for each machine.

    Args:
        documents: machines and rows, as `rows.read_document` gives them.
        folder: made if need be; files in it called growth_AXIS.svg are replaced.

    Returns:
        The files written.

    Raises:
        ValueError: no matplotlib, or no growth in the documents.
    """
    try:
        import matplotlib
    except ImportError as error:
        raise ValueError('--plots needs matplotlib: pip install "gtn_jax[plots]"') from error
    found = {axis: [(about, curves(rows, axis)) for about, rows in documents] for axis in AXES}
    measured = {axis: each for axis, each in found.items() if any(costs for _, costs in each)}
    if not measured:
        raise ValueError("--plots: no file is of `gtn benchmark --growth`")
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    # Text stays text, and names inside do not change from one drawing to the next.
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gtn_jax"}):
        for axis, each in measured.items():
            files.append(folder / f"growth_{axis}.svg")
            _figure(axis, each).savefig(files[-1], metadata={"Date": None})
    return files


def _figure(axis: str, each: Sequence[tuple[dict[str, Any], dict[str, Curve]]]) -> Any:
    from matplotlib.figure import Figure  # which no window system and no global state is behind

    costs = list(dict.fromkeys(name for _, found in each for name in found))
    width, height = _INCHES
    figure = Figure((width * len(costs), height), layout="constrained")
    panels = figure.subplots(1, len(costs), squeeze=False)[0]
    for panel, cost in zip(panels, costs, strict=True):
        for about, found in each:
            curve = [(place, value) for place, value in found.get(cost, []) if value > 0]
            if curve:
                name = about["cpu"] if about["device"] == "cpu" else about["device"]
                panel.plot(*zip(*curve, strict=True), marker="o", markersize=3, label=name)
        panel.set(xscale="log", yscale="log", xlabel=AXES[axis].label, ylabel=cost)
        places = sorted({place for _, found in each for place, _ in found.get(cost, [])})
        panel.set_xticks(places, [f"{place:g}" for place in places], fontsize=7)
        panel.minorticks_off()
        panel.grid(alpha=0.3)
    if len(each) > 1:
        panels[0].legend(fontsize=7)
    return figure

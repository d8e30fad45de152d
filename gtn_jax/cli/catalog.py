"""Tables of `gtn list`, from the tables in which names are looked up."""

from collections.abc import Callable
from typing import Any

from rich.table import Table

from gtn_jax.config.experiment import shipped_experiments


def _backbones() -> Table:
    from gtn_jax.models.backbones import BACKBONES, ResNetShape

    weights: dict[str | None, list[str]] = {}
    for name, info in _known_weights().items():
        weights.setdefault(info.backbone, []).append(f"{name} ({info.license or 'not recorded'})")
    table = _table("backbone", "block", "blocks", "features", "weights (license)")
    for name, shape in BACKBONES.items():
        known = "\n".join(weights.get(name, ["-"]))
        if not isinstance(shape, ResNetShape):
            table.add_row(name, "custom", "", "", known)
            continue
        blocks = " ".join(map(str, shape.blocks_per_stage))
        table.add_row(name, shape.block, blocks, str(shape.features), known)
    return table


def _known_weights() -> dict[str, Any]:
    from gtn_jax.weights.hub import PREFIX
    from gtn_jax.weights.registry import HUB, WEIGHTS

    return {**WEIGHTS, **{PREFIX + name: info for name, info in HUB.items()}}


def _weights() -> Table:
    table = _table("weights", "backbone", "license", "what")
    for name, info in _known_weights().items():
        table.add_row(name, info.backbone or "", info.license or "not recorded", info.description)
    return table


def _datasets() -> Table:
    from gtn_jax.data.sources import DATASETS, builder_of

    table = _table("data set", "needs a source", "what")
    for name, entry in DATASETS.items():
        table.add_row(name, "yes" if entry.needs_source else "no", builder_of(name).description)
    table.add_row("folder:PATH", "yes", "your own photographs, one folder per class")
    table.add_row("tfds:NAME", "no", "a data set of the TFDS catalog")
    return table


def _gates() -> Table:
    from gtn_jax.models.gate import GATES

    table = _table("gate", "what")
    for name, gate in GATES.items():
        table.add_row(name, _first_line(gate))
    return table


def _methods() -> Table:
    from gtn_jax.analysis.methods import METHODS

    table = _table("method", "what")
    for name, method in METHODS.items():
        table.add_row(name, method.about)
    return table


def _experiments() -> Table:
    table = _table("experiment", "what")
    for name, path in shipped_experiments().items():
        header = path.read_text(encoding="utf-8").removeprefix('"""')
        table.add_row(name, header.partition("\n")[0].rstrip("."))
    return table


CATALOGUE: dict[str, Callable[[], Table]] = {
    "backbones": _backbones,
    "weights": _weights,
    "datasets": _datasets,
    "gates": _gates,
    "methods": _methods,
    "experiments": _experiments,
}
"""Topic -> function that builds its table; most of them import JAX."""


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False)
    for column in columns:
        # Names must not be truncated.
        table.add_column(column, no_wrap=column == columns[0], overflow="fold")
    return table


def _first_line(of: Any) -> str:
    return (of.__doc__ or "").strip().partition("\n")[0]

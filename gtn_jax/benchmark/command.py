"""What `gtn benchmark` calls: choices of the command line -> groups, rows, tables."""

from collections.abc import Callable, Sequence
from pathlib import Path

from gtn_jax.benchmark.growth import MINUTES, growth_plan
from gtn_jax.benchmark.markdown import page
from gtn_jax.benchmark.plan import choose, cpu_plan, gpu_plan, quick_plan
from gtn_jax.benchmark.plots import draw
from gtn_jax.benchmark.rows import read_document
from gtn_jax.benchmark.run import benchmark
from gtn_jax.benchmark.spec import Group

__all__ = ["benchmark", "groups_of", "minutes_of", "tables"]


def minutes_of(growth: bool) -> float:
    """How long a run may take if nobody says so."""
    return MINUTES if growth else 12.0


def groups_of(quick: bool, growth: bool, only: Sequence[str]) -> Callable[[str], list[Group]]:
    """Platform -> groups to measure.

    Args:
        quick: tiny shapes.
        growth: growth instead of peers.
        only: names of groups; none for all.

    Raises:
        ValueError: a name that no platform's plan has.
    """

    def plan(platform: str) -> list[Group]:
        if quick:
            return quick_plan()
        if growth:
            return growth_plan(platform)
        return gpu_plan() if platform == "gpu" else cpu_plan()

    choose([*plan("cpu"), *plan("gpu")], only)  # complain before anything starts
    return lambda platform: choose(plan(platform), only)


def tables(paths: Sequence[Path], plots: Path | None = None) -> str:
    """Markdown of these files.

    Args:
        paths: of `gtn benchmark --out`.
        plots: folder for pictures of growth, which the page then shows; it is meant to lie there.

    Raises:
        ValueError: not such a file; or pictures that cannot be drawn.
    """
    documents = [read_document(path) for path in paths]
    return page(documents, draw(documents, plots) if plots else [])

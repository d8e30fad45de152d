"""Commands for the installation: doctor, list, benchmark, completion."""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from gtn_jax.cli.arguments import command
from gtn_jax.cli.terminal import say, show
from gtn_jax.errors import ArgumentError

What = Literal["backbones", "weights", "datasets", "gates", "methods", "experiments"]


@command("doctor")
def doctor() -> None:
    """Check versions, devices and caches; exit code 1 if something needs attention.

    Example: gtn doctor
    """
    from gtn_jax.cli.doctor import findings

    wrong = 0
    for topic, text, fix in findings():
        say(f"{topic:<9} {text}")
        if fix is not None:
            say(f"{'':<9} ! fix: {fix}")
            wrong += 1
    if wrong:
        raise ValueError(f"{wrong} of these need attention")


@command("list")
def list_names(what: Positional[tuple[What, ...]] = ()) -> None:
    """List backbones, weights, datasets, gates, methods or experiments.

    Example: gtn list backbones weights

    Args:
        what: tables to show; default: all.
    """
    from gtn_jax.cli.catalog import CATALOGUE

    for name in what or CATALOGUE:
        show(CATALOGUE[name]())


@command("benchmark")
def benchmark(
    out: Path | None = None,
    only: tuple[str, ...] = (),
    minutes: float = 12.0,
    show: tuple[Path, ...] = (),
) -> None:
    """Measure speed and memory, compared with PyTorch, Flax and the limits of the machine.

    Workloads are timed in turns with their peers, each in its own process.

    Example: gtn benchmark --out benchmark.json --only step frozen

    Args:
        out: JSON file to write; updated after each group.
        only: groups to measure, e.g. step frozen; default: all that fit into the time.
        minutes: of the whole run; results so far are in the file even after Ctrl-C.
        show: files to print as the tables of docs/benchmarks.md, instead of measuring.
    """
    from gtn_jax.benchmark import command as benchmarks

    if show:
        print(benchmarks.tables(show))
    elif out is None:
        raise ArgumentError("out", "where to? e.g. `gtn benchmark --out benchmark.json`")
    else:
        words = ["gtn", "benchmark", "--out", str(out), "--minutes", f"{minutes:g}"]
        benchmarks.benchmark(
            out, only, minutes, [*words, *(("--only", *only) if only else ())], say
        )


@command("completion")
def completion(shell: Positional[Literal["bash", "zsh"]]) -> None:
    """Print a script for completion in bash or zsh.

    Example: eval "$(gtn completion bash)"

    Args:
        shell: bash or zsh.
    """
    from gtn_jax.cli.catalog import CATALOGUE
    from gtn_jax.cli.commands import VERBS
    from gtn_jax.cli.completion import completion as script
    from gtn_jax.cli.completion import words_after

    say(script(shell, VERBS, words_after(VERBS, tuple(CATALOGUE))))

"""Verbs about the installation: doctor, list, benchmark, completion."""

import argparse
from pathlib import Path
from typing import Literal

import tyro

from gtn_jax.cli.arguments import parse
from gtn_jax.cli.terminal import say, show
from gtn_jax.errors import ArgumentError

Positional = tyro.conf.Positional
What = Literal["backbones", "weights", "datasets", "gates", "methods", "experiments"]


def doctor(arguments: list[str]) -> None:
    """Look over the installation: versions, devices, caches; 1 if something wants mending."""

    def form() -> None:
        """Look over the installation.

        Example: gtn doctor
        """

    parse(form, "gtn doctor", arguments)
    from gtn_jax.cli.doctor import findings

    wrong = 0
    for topic, text, fix in findings():
        say(f"{topic:<9} {text}")
        if fix is not None:
            say(f"{'':<9} ! fix: {fix}")
            wrong += 1
    if wrong:
        raise ValueError(f"{wrong} of these need attention")


def list_names(arguments: list[str]) -> None:
    """List what has a name: backbones, weights, datasets, gates, methods, experiments."""

    def form(what: Positional[tuple[What, ...]] = ()) -> tuple[What, ...]:
        """List what has a name.

        Example: gtn list backbones weights

        Args:
            what: tables to show; default: all.
        """
        return what

    asked = parse(form, "gtn list", arguments)
    from gtn_jax.cli.catalog import CATALOGUE

    for name in asked or CATALOGUE:
        show(CATALOGUE[name]())


def benchmark(arguments: list[str]) -> None:
    """Measure speed and memory beside PyTorch, stock Flax and the machine's limits."""

    def form(
        out: Path | None = None,
        only: tuple[str, ...] = (),
        minutes: float = 12.0,
        show: tuple[Path, ...] = (),
    ) -> argparse.Namespace:
        """Time workloads in turns with their peers, each in a process of its own.

        Example: gtn benchmark --out benchmark.json --only step frozen

        Args:
            out: JSON file to write; it is complete after each group.
            only: groups to measure, e.g. step frozen; default: all that fit into the time.
            minutes: of the whole run; what was measured is in the file even after Ctrl-C.
            show: files to print as the tables of docs/benchmarks.md, instead of measuring.
        """
        return argparse.Namespace(**locals())

    given = parse(form, "gtn benchmark", arguments)
    from gtn_jax.benchmark import command

    if given.show:
        print(command.tables(given.show))
    elif given.out is None:
        raise ArgumentError("out", "where to? e.g. `gtn benchmark --out benchmark.json`")
    else:
        words = ("gtn", "benchmark", *arguments)
        command.benchmark(given.out, given.only, given.minutes, words, say)


def completion(arguments: list[str]) -> None:
    """Print what teaches bash or zsh to complete gtn's verbs, names and options."""

    def form(shell: Positional[Literal["bash", "zsh"]]) -> Literal["bash", "zsh"]:
        """Print a completion script.

        Example: eval "$(gtn completion bash)"

        Args:
            shell: bash or zsh.
        """
        return shell

    shell = parse(form, "gtn completion", arguments)
    from gtn_jax.cli.catalog import CATALOGUE
    from gtn_jax.cli.commands import VERBS
    from gtn_jax.cli.completion import completion as script
    from gtn_jax.cli.completion import words_after

    say(script(shell, VERBS, words_after(VERBS, tuple(CATALOGUE))))

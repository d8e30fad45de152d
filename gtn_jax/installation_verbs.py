"""The verbs of `gtn` about the installation: doctor, list; the others are in verbs.py.

As there: a verb reads its arguments, calls one function and prints what came of it.
"""

from typing import Literal

import tyro

from gtn_jax.arguments import parse
from gtn_jax.terminal import say, show

Positional = tyro.conf.Positional
What = Literal["backbones", "weights", "datasets", "gates", "methods", "experiments"]


def doctor(arguments: list[str]) -> None:
    """Look over the installation: versions, devices, caches; 1 if something wants mending."""

    def form() -> None:
        """Look over the installation.

        Example: gtn doctor
        """

    parse(form, "gtn doctor", arguments)
    from gtn_jax.doctor import findings

    wrong = 0
    for topic, text, fix in findings():
        say(f"{topic:<9} {text}")
        if fix is not None:
            say(f"{'':<9} ! fix: {fix}")
            wrong += 1
    if wrong:
        raise ValueError(f"{wrong} of these want mending")


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
    from gtn_jax.catalogue import CATALOGUE

    for name in asked or CATALOGUE:
        show(CATALOGUE[name]())

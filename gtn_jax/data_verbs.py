"""Verbs of `gtn` about data on disk: `check-data`.

Reads arguments, calls one function, prints what came of it, as verbs.py.
"""

from pathlib import Path

import tyro

from gtn_jax.arguments import parse
from gtn_jax.terminal import say, show

Positional = tyro.conf.Positional


def check_data(arguments: list[str]) -> None:
    """Look over a folder of photographs before training on it; 1 if anything is wrong."""

    def form(path: Positional[Path]) -> Path:
        """Check a folder of photographs.

        Args:
            path: the folder, with train/ (and val/, test/) or one folder a class in it.
        """
        return path

    path = parse(form, "gtn check-data", arguments)
    from gtn_jax.data import check

    report = check.check_folder(path)
    show(check.counts_table(report.listing))
    for line in check.report_lines(report):
        say(line)
    if report.problems:
        raise ValueError(f"{path}: {report.problems}")
    images = sum(map(len, report.listing.splits.values()))
    say(f"{path}: {images:,} images of {len(report.listing.classes):,} classes, nothing wrong")

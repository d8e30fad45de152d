"""Verbs that bring data in: prepare, check-data."""

import argparse
from pathlib import Path

import tyro

from gtn_jax.cli.arguments import parse
from gtn_jax.cli.terminal import say, show
from gtn_jax.config import Config

Positional = tyro.conf.Positional


def prepare(arguments: list[str]) -> None:
    """Bring a data set in, once: its source becomes records that training reads."""

    def form(
        dataset: Positional[str],
        source: Path | None = None,
        data_dir: str = Config().data.data_dir,
        short_side: int | None = 256,
        allow_partial: bool = False,
    ) -> argparse.Namespace:
        """Prepare a data set.

        Example: gtn prepare dtd/1 --source dtd-r1.0.1.tar.gz

        Args:
            dataset: cub200, dtd/1, fashionai/collar_design, mit67, minc2500/1, ucf101/1, digits
                or tiny_imagenet.
            source: the folder, archive or file that it is made from, where one is needed.
            data_dir: folder of prepared data sets.
            short_side: of photographs as they are stored, in pixels; None keeps the files.
            allow_partial: go on over missing, repeated and unreadable files and wrong counts.
        """
        return argparse.Namespace(**locals())

    given = parse(form, "gtn prepare", arguments)
    from gtn_jax.data import sources

    counts = sources.prepare(
        given.dataset, given.data_dir, given.source, given.short_side, given.allow_partial, say
    )
    parts = ", ".join(f"{split} {count:,}" for split, count in counts.items())
    say(f"{given.dataset}: {parts} images in {given.data_dir}")


def check_data(arguments: list[str]) -> None:
    """Look over a folder of photographs before training on it; 1 if anything is wrong."""

    def form(path: Positional[Path]) -> Path:
        """Check a folder of photographs.

        Example: gtn check-data photos

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
        raise ValueError(f"{path}: {report.problems}; remove or repair them")
    images = sum(map(len, report.listing.splits.values()))
    say(f"{path}: {images:,} images of {len(report.listing.classes):,} classes, nothing wrong")

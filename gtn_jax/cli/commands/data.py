"""Commands for data sets: prepare, check-data."""

from pathlib import Path

from tyro.conf import Positional

from gtn_jax.cli.arguments import command
from gtn_jax.cli.terminal import say, show
from gtn_jax.config import Config


@command("prepare")
def prepare(
    dataset: Positional[str],
    source: Path | None = None,
    data_dir: str = Config().data.data_dir,
    short_side: int | None = 256,
    allow_partial: bool = False,
) -> None:
    """Convert the source of a data set to the records that training reads, once.

    Example: gtn prepare dtd/1 --source dtd-r1.0.1.tar.gz

    Args:
        dataset: cub200, dtd/1, fashionai/collar_design, mit67, minc2500/1, ucf101/1, digits
            or tiny_imagenet.
        source: folder, archive or file to convert, for data sets that need one.
        data_dir: folder of prepared data sets.
        short_side: of stored photographs, in pixels; None keeps the files.
        allow_partial: accept missing, repeated and unreadable files and wrong counts.
    """
    from gtn_jax.data import sources

    counts = sources.prepare(dataset, data_dir, source, short_side, allow_partial, say)
    parts = ", ".join(f"{split} {count:,}" for split, count in counts.items())
    say(f"{dataset}: {parts} images in {data_dir}")


@command("check-data")
def check_data(path: Positional[Path]) -> None:
    """Check a folder of photographs before training; exit code 1 if anything is wrong.

    Example: gtn check-data photos

    Args:
        path: the folder, with train/ (and val/, test/) or with one folder per class.
    """
    from gtn_jax.data import check

    report = check.check_folder(path)
    show(check.counts_table(report.listing))
    for line in check.report_lines(report):
        say(line)
    if report.problems:
        raise ValueError(f"{path}: {report.problems}; remove or repair them")
    images = sum(map(len, report.listing.splits.values()))
    say(f"{path}: {images:,} images of {len(report.listing.classes):,} classes, nothing wrong")

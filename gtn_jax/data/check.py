"""Checks of a directory of photographs: counts, unreadable files and duplicates.

Every file is read and decoded once, in threads; nothing is written.
"""

import collections
import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from gtn_jax.config import DataConfig
from gtn_jax.data.files import read_regular
from gtn_jax.data.folder import FolderListing, read_folder, shown
from gtn_jax.data.progress import PrepareBar
from gtn_jax.data.rgb import open_rgb
from gtn_jax.data.splits import Split
from gtn_jax.data.subsets import Subset, divide
from gtn_jax.data.threads import ordered_map

Counts = collections.Counter[int]  # label -> number of files


class Inspection(NamedTuple):
    """The result of reading one file."""

    digest: bytes  # SHA-256 of the content; empty if it could not be read
    reason: str  # why it is not a readable image, one line with its name; empty if it is one


class Duplicate(NamedTuple):
    """Files with identical content."""

    files: tuple[str, ...]
    where: str  # their splits or classes


@dataclasses.dataclass(frozen=True)
class Report:
    """The result of `check_folder`."""

    listing: FolderListing
    unreadable: tuple[str, ...]  # one line per file
    # Across splits, across classes, or in what training takes its held-out images from; other
    # duplicates distort no metric.
    duplicates: tuple[Duplicate, ...]
    harmless: int  # number of other repeated files
    singles: tuple[str, ...]  # classes with one training image

    @property
    def problems(self) -> str:
        """Number of problems of each kind as text; empty if there are none."""
        unread = self.listing.unread
        counts = (
            (sum(unread.values()), f"not read ({', '.join(unread)})"),
            (len(self.unreadable), "unreadable"),
            (len(self.duplicates), "more than once"),
            (len(self.singles), "alone in a class"),
        )
        return ", ".join(f"{count:,} {what}" for count, what in counts if count)


def inspect(root: Path, files: Sequence[str]) -> list[Inspection]:
    """Read and decode `root / file` for each file, in threads, with a progress bar."""

    def one(file: str) -> Inspection:
        try:
            encoded = read_regular(root / file)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not a regular file"
            return Inspection(b"", f"{shown(file)}: not a readable image ({reason})")
        digest = hashlib.sha256(encoded).digest()
        try:
            open_rgb(encoded, shown(file))
        except ValueError as error:
            return Inspection(digest, str(error))
        return Inspection(digest, "")

    inspections = []
    with PrepareBar("check", len(files)) as bar:
        for inspection in ordered_map(one, files):
            inspections.append(inspection)
            bar.advance()
    return inspections


def unreadable_files(listing: FolderListing) -> dict[str, str]:
    """File -> reason, for every unreadable file; decodes all of them."""
    files = [file for part in listing.splits.values() for file, _ in part]
    inspections = zip(files, inspect(listing.root, files), strict=True)
    return {file: inspection.reason for file, inspection in inspections if inspection.reason}


def check_folder(path: str | Path) -> Report:
    """Everything that `gtn check-data` reports; raises ValueError as `read_folder` does."""
    listing = read_folder(path)
    rows = [(split, file, label) for split, part in listing.splits.items() for file, label in part]
    inspections = inspect(listing.root, [file for _, file, _ in rows])
    groups: dict[bytes, list[tuple[str, str, int]]] = collections.defaultdict(list)
    for row, inspection in zip(rows, inspections, strict=True):
        if not inspection.reason:
            groups[inspection.digest].append(row)
    # Without its own directory, validation is a share of train.
    held_out = set() if "validation" in listing.splits else {"train"}
    duplicates, harmless = [], 0
    for group in groups.values():
        if len(group) > 1:
            where = _where(group, listing, held_out)
            if where:
                duplicates.append(Duplicate(tuple(shown(file) for _, file, _ in group), where))
            else:
                harmless += len(group) - 1
    per_class = collections.Counter(label for _, label in listing.splits["train"])
    singles = [name for label, name in enumerate(listing.classes) if per_class[label] == 1]
    unreadable = [inspection.reason for inspection in inspections if inspection.reason]
    return Report(listing, tuple(unreadable), tuple(duplicates), harmless, tuple(singles))


def _where(group: list[tuple[str, str, int]], listing: FolderListing, held_out: set[str]) -> str:
    """The splits or classes of duplicates; "" if they are harmless."""
    splits = list(dict.fromkeys(split for split, _, _ in group))
    labels = list(dict.fromkeys(label for _, _, label in group))
    if len(labels) > 1:
        return "classes " + " and ".join(listing.classes[label] for label in labels)
    if len(splits) > 1:
        return " and ".join(splits)
    if splits[0] in held_out:
        return "train, of which validation is a share"
    return ""


def counts_in_training(listing: FolderListing, data: DataConfig | None = None) -> dict[str, Counts]:
    """Split -> label -> number of files after `data` (default: the defaults) holds out its shares.

    The counts do not depend on the seed.
    """
    parts = {}
    for name, part in listing.splits.items():
        rows, labels = np.arange(len(part)), np.array([label for _, label in part], np.int32)
        files, sizes = np.array([shown(file) for file, _ in part]), np.zeros((len(part), 2), int)
        parts[name] = Subset(Split([], listing.classes, name), rows, labels, files, sizes)
    divided = divide(parts, data or DataConfig(), seed=0)
    return {name: collections.Counter(part.labels.tolist()) for name, part in divided.items()}


def counts_table(listing: FolderListing) -> Table:
    """Number of files by class and split, and their sums."""
    table = Table("class", box=box.SIMPLE)
    columns = counts_in_training(listing)
    for split in columns:
        table.add_column(split, justify="right")
    for label, name in enumerate(listing.classes):
        # Text, as rich would read a class named "[red]" as markup.
        cells = (f"{column[label]:,}" for column in columns.values())
        table.add_row(Text(name, overflow="fold"), *cells)
    table.add_section()
    table.add_row("all", *(f"{column.total():,}" for column in columns.values()))
    return table


def _held_out_lines(listing: FolderListing) -> list[str]:
    """Lines about splits that have no directory."""
    defaults, missing = DataConfig(), counts_in_training(listing).keys() - listing.splits.keys()
    return [
        f"{split}: no folder, so training holds out {100 * getattr(defaults, field):g} % of each "
        f"class{of} (data.{field})"
        for split, field, of in (
            ("validation", "validation_fraction", "'s training images"),
            ("test", "test_fraction", ""),
        )
        if split in missing
    ]


def report_lines(report: Report) -> list[str]:
    """The held-out shares and all findings as lines for the user."""
    lines = _held_out_lines(report.listing)
    for suffix, count in report.listing.others.items():
        fix = " (save them as JPEG)" if suffix in report.listing.unread else ""
        lines.append(f"not read: {count:,} {shown(suffix) or 'without suffix'}{fix}")
    if report.harmless:
        lines.append(f"repeated inside a class: {report.harmless:,} files")
    if report.unreadable:
        lines += [f"unreadable: {len(report.unreadable):,}"]
        lines += [f"  {reason}" for reason in report.unreadable]
    if report.duplicates:
        lines += [f"the same bytes more than once: {len(report.duplicates):,}"]
        lines += [f"  {' = '.join(files)} ({where})" for files, where in report.duplicates]
    if report.singles:
        lines += [f"one training image only: {', '.join(report.singles)}"]
    return lines

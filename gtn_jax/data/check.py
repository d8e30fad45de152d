"""Is a folder of photographs fit to train on? Counts, unreadable files, and the same file twice.

Reads and decodes every file once, in threads (Pillow and hashlib let go of the interpreter). What
belongs to which class is folder.py's; nothing is written or repaired.
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
from gtn_jax.data.folder import FolderListing, read_folder
from gtn_jax.data.folder_tree import shown
from gtn_jax.data.progress import PrepareBar
from gtn_jax.data.rgb import open_rgb
from gtn_jax.data.splits import Split
from gtn_jax.data.subsets import Subset, divide
from gtn_jax.data.threads import ordered_map

Counts = collections.Counter[int]
"""Label -> number of files."""


class Inspection(NamedTuple):
    """What came of reading one file.

    Attributes:
        digest: SHA-256 of its bytes; empty where they could not be read.
        reason: why it is no readable image, one line that names it; empty if it is one.
    """

    digest: bytes
    reason: str


class Duplicate(NamedTuple):
    """Files of the same bytes.

    Attributes:
        files: their paths below the root.
        where: the splits or classes they are in, in words.
    """

    files: tuple[str, ...]
    where: str


@dataclasses.dataclass(frozen=True)
class Report:
    """What `check_folder` found.

    Attributes:
        listing: the folder.
        unreadable: a line a file.
        duplicates: those that make a figure wrong: in two splits, in two classes, or in what
            training takes its held-out images from.
        harmless: number of files that only repeat another of the same class and split.
        singles: classes with one training image.
    """

    listing: FolderListing
    unreadable: tuple[str, ...]
    duplicates: tuple[Duplicate, ...]
    harmless: int
    singles: tuple[str, ...]

    @property
    def problems(self) -> str:
        """What is wrong, counted in words; empty if nothing is."""
        unread = self.listing.unread
        found = (
            (sum(unread.values()), f"not read ({', '.join(unread)})"),
            (len(self.unreadable), "unreadable"),
            (len(self.duplicates), "more than once"),
            (len(self.singles), "alone in a class"),
        )
        return ", ".join(f"{count:,} {what}" for count, what in found if count)


def inspect(root: Path, files: Sequence[str]) -> list[Inspection]:
    """Read and decode files, in parallel, with a bar on a terminal.

    Args:
        root: what `files` are below of.
        files: paths below it.

    Returns:
        One for each file, in their order.
    """

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

    found = []
    with PrepareBar("check", len(files)) as bar:
        for inspection in ordered_map(one, files):
            found.append(inspection)
            bar.advance()
    return found


def unreadable_files(listing: FolderListing) -> dict[str, str]:
    """File -> why it cannot be read, for every one that cannot; decodes all of them."""
    files = [file for part in listing.splits.values() for file, _ in part]
    found = zip(files, inspect(listing.root, files), strict=True)
    return {file: inspection.reason for file, inspection in found if inspection.reason}


def check_folder(path: str | Path) -> Report:
    """Everything that `gtn check-data` knows about a folder.

    Raises:
        ValueError: the folder cannot be read as classes at all, as `read_folder`.
    """
    listing = read_folder(path)
    rows = [(split, file, label) for split, part in listing.splits.items() for file, label in part]
    inspections = inspect(listing.root, [file for _, file, _ in rows])
    groups: dict[bytes, list[tuple[str, str, int]]] = collections.defaultdict(list)
    for row, inspection in zip(rows, inspections, strict=True):
        if not inspection.reason:
            groups[inspection.digest].append(row)
    # Without a folder of its own, validation is a share of train's images.
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
    """The splits or classes of one image's copies; "" if it matters to nobody."""
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
    """Split -> class -> number of files, as training divides them; any seed gives the same.

    Args:
        listing: of the folder.
        data: its fractions are held out; None: the defaults.
    """
    parts = {}
    for name, part in listing.splits.items():
        rows, labels = np.arange(len(part)), np.array([label for _, label in part], np.int32)
        files, sizes = np.array([shown(file) for file, _ in part]), np.zeros((len(part), 2), int)
        parts[name] = Subset(Split([], listing.classes, name), rows, labels, files, sizes)
    divided = divide(parts, data or DataConfig(), seed=0)
    return {name: collections.Counter(part.labels.tolist()) for name, part in divided.items()}


def counts_table(listing: FolderListing) -> Table:
    """A row a class: its number of files in each split of training; last the sums."""
    table = Table("class", box=box.SIMPLE)
    columns = counts_in_training(listing)
    for split in columns:
        table.add_column(split, justify="right")
    for label, name in enumerate(listing.classes):
        # Text: a class may be called "[red]", which is markup to rich.
        cells = (f"{column[label]:,}" for column in columns.values())
        table.add_row(Text(name, overflow="fold"), *cells)
    table.add_section()
    table.add_row("all", *(f"{column.total():,}" for column in columns.values()))
    return table


def _held_out_lines(listing: FolderListing) -> list[str]:
    """Which columns of the table have no folder, and what decides them."""
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
    """What training holds out, and all findings, in lines below the table."""
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

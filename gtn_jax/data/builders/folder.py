"""A directory of photographs, prepared into `DATA_DIR/folder/DIGEST` on first use.

The digest is of the names, sizes and times of all files, so a changed directory is prepared again.
Old preparations are not removed (docs/photos.md).
"""

import hashlib
import json
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, Literal

from gtn_jax.data import stores
from gtn_jax.data.builders.base import ImageClassificationBuilder
from gtn_jax.data.builders.encode import Example
from gtn_jax.data.check import unreadable_files
from gtn_jax.data.folder import FolderListing, read_folder, shown
from gtn_jax.data.splits import Split, open_store
from gtn_jax.files import write_text

_NAMED_FILES = 5
_LEFT_OUT = "left_out.txt"


class Folder(ImageClassificationBuilder):
    """The builder of a `FolderListing`."""

    description = "A folder of photographs, prepared from the files that it held at one moment."

    def __init__(self, *, listing: FolderListing, left_out: Collection[str] = (), **arguments: Any):
        """`left_out` are files of the listing to skip; `arguments` are the base class's."""
        self._listing, self._left_out = listing, frozenset(left_out)
        super().__init__(source=listing.root, **arguments)

    @property
    def title(self) -> str:
        """The source directory, for messages."""
        return f"folder {self.source}"

    def classes(self) -> list[str]:
        """The class directories of `train`, sorted."""
        return list(self._listing.classes)

    def examples(self) -> dict[str, list[Example]]:
        """Split -> files, sorted by class and path."""
        root = self._listing.root
        return {
            split: [
                Example(shown(file), root / file, label)
                for file, label in part
                if file not in self._left_out
            ]
            for split, part in self._listing.splits.items()
        }


def open_folder(
    path: str | Path,
    data_dir: str,
    short_side: int | None = None,
    bad_images: Literal["error", "skip"] = "error",
    say: Callable[[str], None] = print,
) -> dict[str, Split]:
    """Every split of a directory in a layout of `read_folder`, prepared again if files changed.

    Arguments as in `sources.open_splits`; `short_side` None stores files unchanged.

    Raises:
        ValueError: as in `read_folder`; unreadable files; a class without a readable image.
    """
    listing = read_folder(path)
    if listing.unread:
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in listing.unread.items())
        say(f"folder {path}: not read: {kinds}")
    home = Path(data_dir).expanduser() / "folder" / _digest(listing, short_side)
    note = home / _LEFT_OUT
    parent = stores.parent_folder(str(home), Folder.name, "", short_side)
    # The note is written last: an interrupted preparation has none. Damaged records were removed
    # by the user, as the error message says, to be prepared again.
    if not (note.is_file() and (parent / stores.VERSION).is_dir()):
        with stores.locked(parent, say):
            options = {"short_side": short_side, "say": say, "data_dir": home}
            bad = _prepare(listing, path, bad_images, options)
            write_text(note, "".join(f"{reason}\n" for reason in bad.values()))
    left_out = note.read_text().splitlines()
    if left_out and bad_images == "error":
        raise _unreadable_error(left_out, path)
    if left_out:
        say(f"folder {path}: {len(left_out):,} unreadable files left out, listed in {note}")
    return open_store(parent / stores.VERSION, short_side)


def _prepare(
    listing: FolderListing, path: str | Path, bad_images: str, options: dict[str, Any]
) -> dict[str, str]:
    """Write the records; return file -> reason of those left out."""
    # Files stored unchanged are not decoded by the builder.
    decodes_first = bad_images == "skip" or options["short_side"] is None
    bad = unreadable_files(listing) if decodes_first else {}
    if bad and bad_images == "error":
        raise _unreadable_error(bad.values(), path)
    _check_remaining(listing, bad, path)
    try:
        Folder(listing=listing, left_out=bad, **options).download_and_prepare()
    except ValueError as error:
        bad = unreadable_files(listing)
        if not bad:
            raise
        raise _unreadable_error(bad.values(), path) from error
    return bad


def _digest(listing: FolderListing, short_side: int | None) -> str:
    described: list[Any] = [str(listing.root), listing.classes, short_side]
    for split, part in listing.splits.items():
        for file, label in part:
            path = listing.root / file
            # A dangling link counts with its own state.
            state = path.stat() if path.exists() else path.lstat()
            described.append((split, file, label, state.st_size, state.st_mtime_ns))
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]


def _check_remaining(listing: FolderListing, bad: Collection[str], path: str | Path) -> None:
    labels = {label for file, label in listing.splits["train"] if file not in bad}
    empty = [name for label, name in enumerate(listing.classes) if label not in labels]
    if empty:
        raise ValueError(
            f"folder {path}: no training image of {', '.join(empty[:_NAMED_FILES])} can be read; "
            f"`gtn check-data {path}` says why"
        )
    for split, part in listing.splits.items():
        if all(file in bad for file, _ in part):
            place = part[0].file.partition("/")[0]
            raise ValueError(
                f"folder {path}: no {split} image can be read; repair or remove {shown(place)}/"
            )


def _unreadable_error(reasons: Collection[str], path: str | Path) -> ValueError:
    more = len(reasons) - _NAMED_FILES
    named = "; ".join(list(reasons)[:_NAMED_FILES])
    return ValueError(
        f"folder {path}: {len(reasons):,} unreadable files: {named}"
        + (f"; and {more:,} more" if more > 0 else "")
        + f"\n`gtn check-data {path}` lists them; remove them, or leave them out with "
        "data.bad_images skip"
    )

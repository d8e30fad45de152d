"""A person's own folder of photographs, resized and kept under the folder of prepared data.

It is prepared by itself on first use, into `DATA_DIR/folder/DIGEST`; the digest is of names, sizes
and times of all files, so a folder that changed is prepared anew. What belongs to which class is
data/folder.py's. Old preparations are not removed: docs/photos.md says how.
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
from gtn_jax.data.folder import FolderListing, read_folder
from gtn_jax.data.folder_tree import shown
from gtn_jax.data.splits import Split, open_store
from gtn_jax.files import write_text

_NAMED_FILES = 5
_LEFT_OUT = "left_out.txt"


class Folder(ImageClassificationBuilder):
    """Classes and files of a listing."""

    description = "A folder of photographs, prepared from the files that it held at one moment."

    def __init__(self, *, listing: FolderListing, left_out: Collection[str] = (), **arguments: Any):
        """`left_out` are files of the listing that do not count; `arguments` are the base's."""
        self._listing, self._left_out = listing, frozenset(left_out)
        super().__init__(source=listing.root, **arguments)

    @property
    def title(self) -> str:
        """The folder."""
        return f"folder {self.source}"

    def classes(self) -> list[str]:
        """The folders of train, sorted."""
        return list(self._listing.classes)

    def examples(self) -> dict[str, list[Example]]:
        """Split name -> its files, by class and path."""
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
    """Every split of a folder; prepared on first use, and again when its files have changed.

    Args:
        path: a folder in a layout that `read_folder` knows.
        data_dir: folder of prepared data sets.
        short_side: of the images that are kept, in pixels, aspect kept; None keeps the files.
        bad_images: "error" names unreadable files, "skip" leaves them out and says how many.
        say: takes lines for the user.

    Raises:
        ValueError: as `read_folder`; unreadable files; a class without a readable image.
    """
    listing = read_folder(path)
    if listing.unread:
        kinds = ", ".join(f"{count:,} {suffix}" for suffix, count in listing.unread.items())
        say(f"folder {path}: not read: {kinds}")
    home = Path(data_dir).expanduser() / "folder" / _digest(listing, short_side)
    note = home / _LEFT_OUT
    parent = stores.parent_folder(str(home), Folder.name, "", short_side)
    # The note is written last: a preparation that was cut short has none. Records that are gone
    # were damaged, and removed to be prepared again.
    if not (note.is_file() and (parent / stores.VERSION).is_dir()):
        with stores.locked(parent, say):
            options = {"short_side": short_side, "say": say, "data_dir": home}
            bad = _prepare(listing, path, bad_images, options)
            write_text(note, "".join(f"{reason}\n" for reason in bad.values()))
    left_out = note.read_text().splitlines()
    if left_out and bad_images == "error":
        raise _complaint(left_out, path)
    if left_out:
        say(f"folder {path}: {len(left_out):,} unreadable files left out, listed in {note}")
    return open_store(parent / stores.VERSION, short_side)


def _prepare(
    listing: FolderListing, path: str | Path, bad_images: str, options: dict[str, Any]
) -> dict[str, str]:
    """Write the records; file -> reason of what is not in them."""
    # Files that are kept as they are would not be opened before training.
    is_looked_through = bad_images == "skip" or options["short_side"] is None
    bad = unreadable_files(listing) if is_looked_through else {}
    if bad and bad_images == "error":
        raise _complaint(bad.values(), path)
    _check_left(listing, bad, path)
    try:
        Folder(listing=listing, left_out=bad, **options).download_and_prepare()
    except ValueError as error:
        bad = unreadable_files(listing)
        if not bad:
            raise
        raise _complaint(bad.values(), path) from error
    return bad


def _digest(listing: FolderListing, short_side: int | None) -> str:
    described: list[Any] = [str(listing.root), listing.classes, short_side]
    for split, part in listing.splits.items():
        for file, label in part:
            path = listing.root / file
            # A link to nothing has a state too.
            state = path.stat() if path.exists() else path.lstat()
            described.append((split, file, label, state.st_size, state.st_mtime_ns))
    return hashlib.sha256(json.dumps(described).encode()).hexdigest()[:16]


def _check_left(listing: FolderListing, bad: Collection[str], path: str | Path) -> None:
    left = {label for file, label in listing.splits["train"] if file not in bad}
    empty = [name for label, name in enumerate(listing.classes) if label not in left]
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


def _complaint(reasons: Collection[str], path: str | Path) -> ValueError:
    more = len(reasons) - _NAMED_FILES
    named = "; ".join(list(reasons)[:_NAMED_FILES])
    return ValueError(
        f"folder {path}: {len(reasons):,} unreadable files: {named}"
        + (f"; and {more:,} more" if more > 0 else "")
        + f"\n`gtn check-data {path}` lists them; remove them, or leave them out with "
        "data.bad_images skip"
    )

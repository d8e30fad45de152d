"""A folder on disk -> its images and subfolders by name, without leaving it or turning in circles.

Hidden files and folders, and those that file managers make for themselves, are not there. What the
folders mean is folder.py's.
"""

import collections
import dataclasses
import errno
import os
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from gtn_jax.data.image_files import IMAGE_SUFFIXES

_SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "lost+found"})


@dataclasses.dataclass
class Tree:
    """A folder's images and subfolders, by name; what is hidden is not there."""

    images: list[str]
    folders: "dict[str, Tree]"

    def all_images(self, prefix: str) -> Iterator[str]:
        """Paths of every image in it, at any depth, each after `prefix`."""
        yield from (prefix + image for image in self.images)
        for name, folder in self.folders.items():
            yield from folder.all_images(f"{prefix}{name}/")

    def has_images(self) -> bool:
        """Whether there is an image at any depth."""
        return any(True for _ in self.all_images(""))


def scan(root: Path) -> tuple[Tree, collections.Counter[str]]:
    """Everything below `root`, a resolved path.

    Returns:
        The tree, and how many files of each suffix are no images.

    Raises:
        ValueError: a link that leaves `root` or leads back to a folder that holds it.
    """
    others: collections.Counter[str] = collections.Counter()
    return _scan(root, root, (), others), others


def _scan(
    folder: Path, root: Path, above: tuple[Path, ...], others: collections.Counter[str]
) -> Tree:
    """`folder`'s tree; `above` are the folders that lead to it, resolved."""
    node = Tree([], {})
    here = folder.resolve() if folder.is_symlink() else folder
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        if entry.name.startswith(".") or entry.name.lower() in _SYSTEM_FOLDERS:
            continue
        path = folder / entry.name
        if entry.is_symlink():
            _check_link(path, root, (*above, here))
        suffix = path.suffix.lower()
        if entry.is_dir():
            node.folders[entry.name] = _scan(path, root, (*above, here), others)
        # Whatever has an image's name, a device too: reading refuses it by name, so that all that
        # is wrong is said at once.
        elif suffix in IMAGE_SUFFIXES:
            node.images.append(entry.name)
        else:
            others[suffix] += 1
    return node


def _check_link(path: Path, root: Path, above: tuple[Path, ...]) -> None:
    target = Path(os.path.realpath(path))
    try:
        path.stat()
    except OSError as error:
        # Path.resolve raises this in Python 3.11 and 3.12, and passes over it in 3.13.
        if error.errno == errno.ELOOP:
            target = path.parent
    if not target.is_relative_to(root):
        raise ValueError(
            f"{shown(str(path))}: a link that leaves {root}; copy what it points to, or use a "
            "hard link"
        )
    if target in above:
        raise ValueError(f"{shown(str(path))}: a link that leads back to itself; remove it")


def shown(name: str) -> str:
    """A file's name as one line of valid text; its control characters and bad bytes as escapes."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(
        ascii(letter)[1:-1] if unicodedata.category(letter) == "Cc" else letter for letter in text
    )

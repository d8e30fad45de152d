"""Directories of photographs: class names, and which file belongs to which split.

Two layouts: `train/`, with optional `val/` (`valid/`, `validation/`) and `test/` beside it and one
directory per class in each; or only class directories, all of them `train`, of which training
holds out a share. Only names are read; no image is opened.
"""

import collections
import dataclasses
import difflib
import errno
import glob
import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

PREFIX = "folder:"
IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Images inside a directory, in any case; a file named by the user is always one."""
UNREAD_SUFFIXES = frozenset(
    {".arw", ".avif", ".cr2", ".dng", ".heic", ".heif", ".nef", ".orf", ".raf"}
)
"""Photographs in formats that this package cannot read."""
SPLIT_FOLDERS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Name of a directory or of a stored split, in any case -> split."""
_NAMED_AT_MOST = 5
_SYSTEM_FOLDERS = frozenset({"__macosx", "@eadir", "$recycle.bin", "lost+found"})


@dataclasses.dataclass
class Tree:
    """Images and subdirectories of a directory by name, without hidden and system files."""

    images: list[str]
    folders: "dict[str, Tree]"

    def all_images(self, prefix: str) -> Iterator[str]:
        """Recursively list the images, each path after `prefix`."""
        yield from (prefix + image for image in self.images)
        for name, folder in self.folders.items():
            yield from folder.all_images(f"{prefix}{name}/")

    def has_images(self) -> bool:
        """Whether there is an image at any depth."""
        return any(True for _ in self.all_images(""))


class Labeled(NamedTuple):
    """An image file, relative to the root with "/", and the index of its class."""

    file: str
    label: int


@dataclasses.dataclass(frozen=True)
class FolderListing:
    """The images of a directory."""

    root: Path  # resolved
    classes: tuple[str, ...]  # names in label order: the directories of `train`, sorted
    splits: dict[str, list[Labeled]]  # at least "train"; sorted by class and path
    others: dict[str, int]  # suffix ("": none) -> number of files that are not read

    @property
    def unread(self) -> dict[str, int]:
        """The part of `others` that are photographs (`UNREAD_SUFFIXES`)."""
        return {suffix: count for suffix, count in self.others.items() if suffix in UNREAD_SUFFIXES}


def read_folder(path: str | Path) -> FolderListing:
    """List a directory of photographs; "~" is the home directory.

    Raises:
        ValueError: not a directory, no image, an image in no class, a class without (training)
            images, fewer than two classes, names that clash, a link that leaves or forms a cycle.
    """
    if not str(path):
        raise ValueError("data.name: 'folder:' names no folder; give yours, folder:PATH")
    path = Path(path).expanduser()
    if not path.is_dir():
        what = "is a file; unpack it if it is an archive, and" if path.exists() else "is not there;"
        raise ValueError(f"folder {path} {what} name a folder that holds one folder a class")
    root = path.resolve()
    tree, others = scan(root)
    if not tree.has_images():
        raise ValueError(f"folder {path}: no image in it{_unread_note(others)}")
    if tree.images:
        raise ValueError(
            f"folder {path}: {_some(tree.images)} in no class folder; make one folder a class"
        )
    parts = _split_folders(tree, path)
    classes = tuple(sorted(_key(name) for name in parts["train"][1].folders))
    _check_classes(parts, classes, path, others)
    labels = {_key(name): number for number, name in enumerate(classes)}
    splits = {}
    for split, (place, part) in parts.items():
        pairs = sorted((labels[_key(name)], name) for name in part.folders if _key(name) in labels)
        splits[split] = [
            Labeled(file, label)
            for label, name in pairs
            for file in sorted(part.folders[name].all_images(f"{place}{name}/"))
        ]
    return FolderListing(root, classes, splits, dict(sorted(others.items())))


_Parts = dict[str, tuple[str, Tree]]
"""Split -> path relative to the root ("train/", or "" for class directories only), and tree."""


def _split_folders(tree: Tree, path: Path) -> _Parts:
    named = {name: SPLIT_FOLDERS.get(name.lower()) for name in tree.folders}
    # A class may also be named "train", but only a split contains directories.
    is_split = all(named.values()) or any(
        split and tree.folders[name].folders for name, split in named.items()
    )
    if not is_split:
        _check_class_folders(tree, path)
        return {"train": ("", tree)}
    parts: _Parts = {}
    for name, split in named.items():
        part = tree.folders[name]
        if split is None and part.has_images():
            raise ValueError(
                f"folder {path}: {shown(name)}/ is not a split; beside train/ there may be val/ "
                "(valid/, validation/) and test/ only"
            )
        if split is None:
            continue
        if split in parts:
            raise ValueError(
                f"folder {path}: {parts[split][0]} and {name}/ both mean {split}; keep one"
            )
        if part.images:
            raise ValueError(
                f"folder {path}: {name}/ holds {_some(part.images)} in no class folder; make one "
                "folder a class in it"
            )
        if not part.has_images():
            raise ValueError(f"folder {path}: {name}/ holds no image; fill it or remove it")
        parts[split] = (f"{name}/", part)
    if "train" not in parts:
        places = " and ".join(place for place, _ in parts.values())
        raise ValueError(f"folder {path}: {places} but no train/; rename or add it")
    return {split: parts[split] for split in ("train", "validation", "test") if split in parts}


def _check_class_folders(tree: Tree, path: Path) -> None:
    """Reject class directories that most likely are something else."""
    folders = {name: node for name, node in tree.folders.items() if node.has_images()}
    if len(folders) == 1:
        ((name, node),) = folders.items()
        if len(node.folders) > 1 or SPLIT_FOLDERS.keys() & {n.lower() for n in node.folders}:
            raise ValueError(
                f"folder {path}: all images are in {shown(name)}/; did you mean "
                f"{PREFIX}{path / shown(name)}?"
            )
    below = [frozenset(node.folders) for node in folders.values() if not node.images]
    if len(below) == len(folders) > 1 and len(set(below)) == 1 and len(below[0]) > 1:
        raise ValueError(
            f"folder {path}: {_list(folders)} all hold the folders {_list(sorted(below[0]))}; if "
            "they are splits, call them train, val and test; if classes, merge what they hold"
        )


def _key(name: str) -> str:
    """Equal for composed and decomposed accents, which file systems write differently."""
    return unicodedata.normalize("NFC", name)


def _check_classes(
    parts: _Parts, classes: tuple[str, ...], path: Path, others: collections.Counter[str]
) -> None:
    train = parts["train"][1]
    invalid = [name for name in classes if shown(name) != name or not name.strip()]
    if invalid:
        raise ValueError(
            f"folder {path}: class {_list(invalid)}: control characters or nothing but spaces; "
            "rename"
        )
    same: dict[str, list[str]] = collections.defaultdict(list)
    for name in train.folders:
        same[_key(name).casefold().strip()].append(name)
    clash = next((names for names in same.values() if len(names) > 1), None)
    if clash:
        raise ValueError(
            f"folder {path}: the classes {_list(clash)} differ in case, spaces or the bytes of an "
            "accent only; merge or rename them"
        )
    empty = [name for name, folder in train.folders.items() if not folder.has_images()]
    if empty:
        raise ValueError(
            f"folder {path}: no training image of {_list(empty)}{_unread_note(others)}; "
            "fill or remove"
        )
    for place, part in parts.values():
        unknown = [
            name
            for name, folder in part.folders.items()
            if _key(name) not in classes and folder.has_images()
        ]
        if unknown:
            folded = {name.casefold(): name for name in classes}
            near = difflib.get_close_matches(unknown[0].casefold(), folded, n=1, cutoff=0.7)
            hint = f" (nearest to {shown(unknown[0])}: {folded[near[0]]})" if near else ""
            raise ValueError(
                f"folder {path}: class {_list(unknown)} of {place} is none of train/'s, which are "
                f"the only ones that can be learned; rename or remove it{hint}"
            )
    if len(classes) == 1:
        raise ValueError(f"folder {path}: one class only, {classes[0]}; bring a second one")


def _some(images: list[str]) -> str:
    count = f"{len(images):,} images" if len(images) > 1 else "1 image"
    return f"{count} ({shown(images[0])}{', ...' if len(images) > 1 else ''})"


def _list(names: Iterable[str]) -> str:
    names = [shown(name) for name in names]
    more = len(names) - _NAMED_AT_MOST
    return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


def _unread_note(others: collections.Counter[str]) -> str:
    if not others:
        return ""
    kinds = ", ".join(f"{count:,} {suffix or 'without suffix'}" for suffix, count in
                      others.most_common(_NAMED_AT_MOST))  # fmt: skip
    return f" (of files that are not read there are {shown(kinds)})"


def scan(root: Path) -> tuple[Tree, collections.Counter[str]]:
    """The tree below a resolved `root`, and the number of other files by suffix; ValueError for a
    link that leaves `root` or leads to one of its parent directories."""
    others: collections.Counter[str] = collections.Counter()
    return _scan(root, root, (), others), others


def _scan(
    folder: Path, root: Path, above: tuple[Path, ...], others: collections.Counter[str]
) -> Tree:
    """The tree of `folder`; `above` are its resolved parents."""
    node = Tree([], {})
    here = folder.resolve() if folder.is_symlink() else folder
    with os.scandir(folder) as entries:
        sorted_entries = sorted(entries, key=lambda entry: entry.name)
    for entry in sorted_entries:
        if entry.name.startswith(".") or entry.name.lower() in _SYSTEM_FOLDERS:
            continue
        path = folder / entry.name
        if entry.is_symlink():
            _check_link(path, root, (*above, here))
        suffix = path.suffix.lower()
        if entry.is_dir():
            node.folders[entry.name] = _scan(path, root, (*above, here), others)
        # Includes devices with an image's name: reading rejects all invalid files together.
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
    """The name as one line of valid text, with control characters and invalid bytes escaped."""
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return "".join(
        ascii(letter)[1:-1] if unicodedata.category(letter) == "Cc" else letter for letter in text
    )


def image_files(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """The image files that the user's `paths` mean, for prediction and calibration.

    A path is a file, a directory, whose images are found recursively, or a pattern
    (`photos/**/*.jpg`, for shells without globbing), which stands for the images it matches and
    those in the directories it matches, each once. Hidden files are skipped.

    Returns:
        Files in the order of `paths`, sorted within a directory; and one message for every path
        that does not exist or holds no image.
    """
    files: list[Path] = []
    problems = []
    for path in paths:
        if path.is_dir():
            images = _images_of(path)
            files += images
            if not images:
                problems.append(f"{path}: no image in this folder")
        elif path.is_file():
            files.append(path)
        elif not path.exists() and glob.has_magic(str(path)):
            matches = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
            images = dict.fromkeys(file for match in matches for file in _images_of(match))
            files += images
            if not images:
                problems.append(f"{path}: no image has such a name")
        elif path.exists():
            problems.append(f"{path}: neither a file nor a folder; a pipe or device is not read")
        else:
            problems.append(f"{path}: no such file or folder")
    return files, problems


def _images_of(path: Path) -> list[Path]:
    """Images in a directory, or the path itself if it is one."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if _is_image(file, path))
    return [path] if _is_image(path, path.parent) else []


def _is_image(file: Path, folder: Path) -> bool:
    if file.suffix.lower() not in IMAGE_SUFFIXES:
        return False
    is_hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not is_hidden and file.is_file()

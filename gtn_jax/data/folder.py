"""A person's folder of photographs -> class names, and which file belongs to which split.

Two layouts: `train/`, with `val/` (or `valid/`, `validation/`) and `test/` beside it if there are
any, and a folder a class in each; or class folders only, and everything is `train`, of which
training holds out a share. Names only: opens no image (check.py) and writes nothing
(builders/folder.py).
"""

import collections
import dataclasses
import difflib
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from gtn_jax.data.folder_tree import Tree, scan, shown
from gtn_jax.data.image_files import UNREAD_SUFFIXES

PREFIX = "folder:"
SPLIT_FOLDERS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Name of a folder or of a stored split, in any case -> the split that it holds."""
_NAMED_AT_MOST = 5


class Labeled(NamedTuple):
    """One image file.

    Attributes:
        file: its path below the root, with "/".
        label: index into the classes.
    """

    file: str
    label: int


@dataclasses.dataclass(frozen=True)
class FolderListing:
    """What a folder holds.

    Attributes:
        root: the folder, resolved.
        classes: names in label order: the folders of `train`, sorted.
        splits: "train" and, where there are folders for them, "validation" and "test"; files
            sorted by class and path.
        others: suffix -> number of files that are not read; "" stands for no suffix.
    """

    root: Path
    classes: tuple[str, ...]
    splits: dict[str, list[Labeled]]
    others: dict[str, int]

    @property
    def unread(self) -> dict[str, int]:
        """Those of `others` that are photographs all the same."""
        return {suffix: count for suffix, count in self.others.items() if suffix in UNREAD_SUFFIXES}


def read_folder(path: str | Path) -> FolderListing:
    """List a folder of photographs.

    Args:
        path: the folder; "~" is the home folder.

    Raises:
        ValueError: not a folder, no image, an image in no class, a class without images, a class
            that only validation or test has, one class only, names that clash, a link that leaves
            the folder or turns in a circle.
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
        raise ValueError(f"folder {path}: no image in it{_said_of(others)}")
    if tree.images:
        raise ValueError(
            f"folder {path}: {_some(tree.images)} in no class folder; make one folder a class"
        )
    parts = _split_folders(tree, path)
    classes = _classes(parts["train"])
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
"""Split -> where it is below the root ("train/", or "" for class folders only), and its tree."""


def _split_folders(tree: Tree, path: Path) -> _Parts:
    named = {name: SPLIT_FOLDERS.get(name.lower()) for name in tree.folders}
    # A class may be called "train", beside others: a split holds folders.
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
        there = " and ".join(place for place, _ in parts.values())
        raise ValueError(f"folder {path}: {there} but no train/; rename or add it")
    return {split: parts[split] for split in ("train", "validation", "test") if split in parts}


def _check_class_folders(tree: Tree, path: Path) -> None:
    """Refuse what looks like class folders and most likely is something else."""
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


def _classes(train: tuple[str, Tree]) -> tuple[str, ...]:
    return tuple(sorted(unicodedata.normalize("NFC", name) for name in train[1].folders))


def _key(name: str) -> str:
    """The same for the two ways that file systems write an accent."""
    return unicodedata.normalize("NFC", name)


def _check_classes(
    parts: _Parts, classes: tuple[str, ...], path: Path, others: collections.Counter[str]
) -> None:
    train = parts["train"][1]
    odd = [name for name in classes if shown(name) != name or not name.strip()]
    if odd:
        raise ValueError(
            f"folder {path}: class {_list(odd)}: control characters or nothing but spaces; rename"
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
            f"folder {path}: no training image of {_list(empty)}{_said_of(others)}; fill or remove"
        )
    for place, part in parts.values():
        strange = [
            name
            for name, folder in part.folders.items()
            if _key(name) not in classes and folder.has_images()
        ]
        if strange:
            folded = {name.casefold(): name for name in classes}
            near = difflib.get_close_matches(strange[0].casefold(), folded, n=1, cutoff=0.7)
            hint = f" (nearest to {shown(strange[0])}: {folded[near[0]]})" if near else ""
            raise ValueError(
                f"folder {path}: class {_list(strange)} of {place} is none of train/'s, which are "
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


def _said_of(others: collections.Counter[str]) -> str:
    if not others:
        return ""
    kinds = ", ".join(f"{count:,} {suffix or 'without suffix'}" for suffix, count in
                      others.most_common(_NAMED_AT_MOST))  # fmt: skip
    return f" (of files that are not read there are {shown(kinds)})"

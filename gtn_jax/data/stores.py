"""Where prepared data sets lie: DATA_DIR/dtd/1-256px/1.0.0, TFDS's layout.

A store is a folder that TFDS finished: it works in a neighbor named "incomplete.XXXXXX_1.0.0"
and renames it at the end. What is in a store is sources.py's.
"""

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tensorflow_datasets as tfds
from filelock import FileLock, Timeout

from gtn_jax.errors import one_line
from gtn_jax.files import write_text

VERSION = "1.0.0"
"""Of every builder in builders/."""
_PREPARED = "prepared.json"


class Store(NamedTuple):
    """A prepared data set.

    Attributes:
        folder: of one version.
        short_side: of its images in pixels; None: files as they came.
    """

    folder: Path
    short_side: int | None


class Prepared(NamedTuple):
    """What is kept beside the records about how they were made.

    Attributes:
        counts: split -> how many of `unit` the lists held.
        unit: "images" or "clips".
        partial: whether `allow_partial` went on over anything.
    """

    counts: dict[str, int]
    unit: str
    partial: bool


def save_prepared(folder: Path, prepared: Prepared) -> None:
    """Write it into a store."""
    write_text(folder / _PREPARED, json.dumps(prepared._asdict(), indent=1) + "\n")


def load_prepared(folder: Path) -> Prepared | None:
    """What `save_prepared` wrote; None for a store from before it was.

    Raises:
        ValueError: damaged.
    """
    file = folder / _PREPARED
    if not file.is_file():
        return None
    try:
        return Prepared(**json.loads(file.read_bytes()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} is damaged; remove {folder} and prepare it anew") from error


def config_name(variant: str, short_side: int | None) -> str:
    """The folder between a data set's and its version's: "1-256px"; "" where there is none."""
    return "-".join(filter(None, [variant, f"{short_side}px" if short_side else ""]))


def parent_folder(data_dir: str, name: str, variant: str, short_side: int | None) -> Path:
    """The folder of a store's versions.

    Args:
        data_dir: folder of prepared data sets; "~" is the user's home.
        name: of the data set; what follows "/" does not count.
        variant: of the data set, or "".
        short_side: of the stored images; None: files as they came.
    """
    dataset = Path(data_dir).expanduser() / name.partition("/")[0]
    return dataset / config_name(variant, short_side)


def is_prepared(folder: Path) -> bool:
    """Whether TFDS finished this folder."""
    return (folder / "dataset_info.json").is_file()


def find(data_dir: str, name: str, variant: str) -> dict[int | None, Store]:
    """Short side -> store, for every size that a data set was prepared with."""
    dataset = parent_folder(data_dir, name, "", None)
    prefix = re.escape(f"{variant}-") if variant else ""
    found: dict[int | None, Store] = {}
    for folder in dataset.iterdir() if dataset.is_dir() else ():
        size = re.fullmatch(rf"{prefix}([1-9][0-9]*)px", folder.name)
        if size and is_prepared(folder / VERSION):
            found[int(size[1])] = Store(folder / VERSION, int(size[1]))
    plain = dataset / variant / VERSION
    if is_prepared(plain):
        found[None] = Store(plain, None)
    return found


def choose(found: Mapping[int | None, Store], short_side: int | None) -> Store | None:
    """The store for images of this short side; None if all of them are smaller.

    Args:
        found: from `find`.
        short_side: in pixels; None: the more, the better.
    """
    if short_side in found:
        return found[short_side]
    if None in found:
        return found[None]
    sizes = sorted(size for size in found if size is not None)
    if short_side is None:
        return found[sizes[-1]] if sizes else None
    return next((found[size] for size in sizes if size >= short_side), None)


def counts(folder: Path) -> dict[str, int]:
    """Images per split of a store.

    Raises:
        ValueError: damaged.
    """
    with undamaged(folder):
        builder: Any = tfds.builder_from_directory(folder)
        return {split: info.num_examples for split, info in builder.info.splits.items()}


@contextlib.contextmanager
def undamaged(folder: Path) -> Iterator[None]:
    """Turn whatever TFDS and ArrayRecord raise on damaged files into one sentence on `folder`."""
    try:
        yield
    except Exception as error:  # JSON, protobuf, RuntimeError of C++ and others
        raise ValueError(
            f"{folder}: damaged ({one_line(error)}); remove this folder and prepare the data set "
            "again"
        ) from error


@contextlib.contextmanager
def locked(parent: Path, say: Callable[[str], None]) -> Iterator[None]:
    """One preparation at a time; what one that was killed left behind is removed.

    Args:
        parent: from `parent_folder`; made where it is missing.
        say: told about having to wait.
    """
    parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(parent / ".lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        say(f"waiting for another preparation in {parent}")
        held = lock.acquire()
    with held:
        # Whoever holds the lock is alone, so these belong to nobody.
        for leftover in parent.glob("incomplete.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield

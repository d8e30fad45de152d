"""Stores of prepared data sets in TFDS's layout: DATA_DIR/dtd/1-256px/1.0.0.

TFDS writes to a sibling directory "incomplete.XXXXXX_1.0.0" and renames it at the end.
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

VERSION = "1.0.0"  # of every builder
_PREPARED = "prepared.json"


class Store(NamedTuple):
    """A prepared data set."""

    folder: Path  # of one version
    short_side: int | None  # of the images in pixels; None: files stored unchanged


class Prepared(NamedTuple):
    """How the records of a store were made."""

    counts: dict[str, int]  # split -> number of `unit` in the lists
    unit: str  # "images" or "clips"
    partial: bool  # whether `allow_partial` skipped anything


def save_prepared(folder: Path, prepared: Prepared) -> None:
    """Write `prepared` to a store."""
    write_text(folder / _PREPARED, json.dumps(prepared._asdict(), indent=1) + "\n")


def load_prepared(folder: Path) -> Prepared | None:
    """Read what `save_prepared` wrote; None in an old store, ValueError if damaged."""
    file = folder / _PREPARED
    if not file.is_file():
        return None
    try:
        return Prepared(**json.loads(file.read_bytes()))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{file} is damaged; remove {folder} and prepare it anew") from error


def config_name(variant: str, short_side: int | None) -> str:
    """Directory between a data set and its version: "1-256px", or "" for none."""
    return "-".join(filter(None, [variant, f"{short_side}px" if short_side else ""]))


def parent_folder(data_dir: str, name: str, variant: str, short_side: int | None) -> Path:
    """The directory of a store's versions; the name's part after "/" is ignored, "~" expanded."""
    dataset = Path(data_dir).expanduser() / name.partition("/")[0]
    return dataset / config_name(variant, short_side)


def is_prepared(folder: Path) -> bool:
    """Whether TFDS finished this directory."""
    return (folder / "dataset_info.json").is_file()


def find(data_dir: str, name: str, variant: str) -> dict[int | None, Store]:
    """Short side -> store, for all sizes that the data set is prepared in."""
    dataset = parent_folder(data_dir, name, "", None)
    prefix = re.escape(f"{variant}-") if variant else ""
    by_size: dict[int | None, Store] = {}
    for folder in dataset.iterdir() if dataset.is_dir() else ():
        size = re.fullmatch(rf"{prefix}([1-9][0-9]*)px", folder.name)
        if size and is_prepared(folder / VERSION):
            by_size[int(size[1])] = Store(folder / VERSION, int(size[1]))
    plain = dataset / variant / VERSION
    if is_prepared(plain):
        by_size[None] = Store(plain, None)
    return by_size


def choose(by_size: Mapping[int | None, Store], short_side: int | None) -> Store | None:
    """The best store of `find` with at least `short_side` pixels (None: the largest), if any."""
    if short_side in by_size:
        return by_size[short_side]
    if None in by_size:
        return by_size[None]
    sizes = sorted(size for size in by_size if size is not None)
    if short_side is None:
        return by_size[sizes[-1]] if sizes else None
    return next((by_size[size] for size in sizes if size >= short_side), None)


def counts(folder: Path) -> dict[str, int]:
    """Images per split of a store; ValueError if damaged."""
    with undamaged(folder):
        builder: Any = tfds.builder_from_directory(folder)
        return {split: info.num_examples for split, info in builder.info.splits.items()}


@contextlib.contextmanager
def undamaged(folder: Path) -> Iterator[None]:
    """Convert the many kinds of errors of TFDS and ArrayRecord on damaged files to ValueError."""
    try:
        yield
    except Exception as error:  # JSON, protobuf, RuntimeError of C++ and others
        raise ValueError(
            f"{folder}: damaged ({one_line(error)}); remove this folder and prepare the data set "
            "again"
        ) from error


@contextlib.contextmanager
def locked(parent: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a `parent_folder`, and remove what a killed preparation left behind.

    `say` reports waiting for another process.
    """
    parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(parent / ".lock")
    try:
        held = lock.acquire(timeout=0)
    except Timeout:
        say(f"waiting for another preparation in {parent}")
        held = lock.acquire()
    with held:
        # Only the lock's holder writes, so these are abandoned.
        for leftover in parent.glob("incomplete.*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield

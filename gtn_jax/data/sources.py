"""Data sets by name: `prepare` runs a builder, `open_splits` opens its splits.

A name is a row of `DATASETS`, a directory of photographs or a data set of TFDS's catalog.
"""

import contextlib
import dataclasses
import importlib
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from gtn_jax.config import DataConfig
from gtn_jax.data import archives, stores, tfds_catalog
from gtn_jax.data.builders.folder import open_folder
from gtn_jax.data.splits import Split, open_store
from gtn_jax.errors import ArgumentError, unknown_name

FOLDER_PREFIX = "folder:"
Say = Callable[[str], None]


class DatasetEntry(NamedTuple):
    """A row of `DATASETS`."""

    module: str  # in `gtn_jax.data.builders`
    builder: str  # class name
    needs_source: bool  # the user provides the files; otherwise prepared on first use
    clips: bool = False  # images are frames of videos, see `gtn_jax.data.clips`


DATASETS = {
    "digits": DatasetEntry("digits", "Digits", needs_source=False),
    "tiny_imagenet": DatasetEntry("tiny_imagenet", "TinyImagenet", needs_source=True),
    "cub200": DatasetEntry("cub200", "Cub200", needs_source=True),
    "dtd": DatasetEntry("listed", "Dtd", needs_source=True),
    "minc2500": DatasetEntry("listed", "Minc2500", needs_source=True),
    "mit67": DatasetEntry("listed", "Mit67", needs_source=True),
    "ucf101": DatasetEntry("ucf101", "Ucf101", needs_source=True, clips=True),
    "fashionai": DatasetEntry("fashionai", "Fashionai", needs_source=True),
}
"""Name -> builder."""


def prepare(
    name: str,
    data_dir: str,
    source: Path | None = None,
    short_side: int | None = 256,
    allow_partial: bool = False,
    say: Say | None = None,
) -> dict[str, int]:
    """Write a data set to `data_dir` unless it is there already.

    Args:
        name: in `DATASETS`, with its variant: dtd/1.
        data_dir: root of the prepared data sets.
        source: directory, file or archive of a data set that needs one.
        short_side: of the stored images in pixels; None stores files unchanged, as digits and
            tiny_imagenet always do.
        allow_partial: accept missing and unreadable files and other counts than the published.
        say: receives messages for the user.

    Returns:
        Number of images per split.

    Raises:
        ValueError: an unknown name, or a missing or invalid source.
    """
    if name.startswith((FOLDER_PREFIX, tfds_catalog.PREFIX)):
        raise ValueError(f"{name}: prepared by itself on first use; nothing to do here")
    say = say or (lambda line: None)
    builder_class, variant, needs_source = _look_up(name)
    if short_side is not None and short_side < 1:
        raise ArgumentError("short_side", f"invalid value {short_side}; expected at least 1 pixel")
    if builder_class.keeps_files:
        short_side = None
    folder = stores.parent_folder(data_dir, name, variant, short_side) / stores.VERSION
    if not stores.is_prepared(folder):
        if needs_source:
            _check_source(name, data_dir, source)
        with stores.locked(folder.parent, say):
            # Another process may have prepared it while this one waited.
            if not stores.is_prepared(folder):
                with _readable(source, folder.parent, say) as (readable, say_of_it):
                    builder: Any = builder_class(
                        source=readable,
                        origin=source,
                        variant=variant,
                        short_side=short_side,
                        allow_partial=allow_partial,
                        say=say_of_it,
                        data_dir=Path(data_dir).expanduser(),
                    )
                    builder.download_and_prepare()
                return stores.counts(folder)
    say(f"{name} is there already; to prepare it anew, remove {folder}")
    _check_complete(name, folder, builder_class, variant, allow_partial)
    return stores.counts(folder)


def open_data(data: DataConfig, say: Say = print) -> dict[str, Split]:
    """`open_splits` for a config."""
    short_side = data.resize_size or data.image_size
    return open_splits(data.name, data.data_dir, short_side, data.bad_images, say)


def absolute(data: DataConfig) -> DataConfig:
    """The config with absolute paths, or relative to "~", independent of the working directory."""
    name = _folder_named(data.name)
    path = name.removeprefix(FOLDER_PREFIX)
    name = f"{FOLDER_PREFIX}{_from_root(path)}" if FOLDER_PREFIX + path == name else name
    return dataclasses.replace(data, name=name, data_dir=_from_root(data.data_dir))


def _folder_named(name: str) -> str:
    """`photos/` -> `folder:photos/`, if that is a directory and not the name of a data set."""
    is_known = name.partition("/")[0] in DATASETS or name.startswith(
        (FOLDER_PREFIX, tfds_catalog.PREFIX)
    )
    is_folder = not is_known and name != "" and Path(name).expanduser().is_dir()
    return f"{FOLDER_PREFIX}{name}" if is_folder else name


def _from_root(path: str) -> str:
    return path if not path or path.startswith("~") else str(Path(path).absolute())


def open_splits(
    name: str,
    data_dir: str,
    short_side: int | None = None,
    bad_images: Literal["error", "skip"] = "error",
    say: Say = print,
) -> dict[str, Split]:
    """Every split of a data set; one that needs no source is prepared on first use.

    Args:
        name: as in `prepare`; tfds:NAME; or folder:PATH, where `folder:` is optional if PATH is a
            directory and not a data set.
        data_dir: root of the prepared data sets.
        short_side: minimum in pixels. Selects the store of that size, else the one of unchanged
            files, else the smallest larger one. None: unchanged files, else the largest.
        bad_images: unreadable files of a directory: "error" names them, "skip" leaves them out.
        say: receives messages for the user.

    Raises:
        ValueError: an unknown name, or not prepared, or only in a smaller size.
    """
    name = _folder_named(name)
    if name.startswith(FOLDER_PREFIX):
        path = name.removeprefix(FOLDER_PREFIX)
        return open_folder(path, data_dir, short_side, bad_images, say)
    if name.startswith(tfds_catalog.PREFIX):
        return tfds_catalog.open_stock(name, data_dir, say)
    builder_class, variant, needs_source = _look_up(name)
    by_size = stores.find(data_dir, name, variant)
    if not by_size and not needs_source:
        prepare(name, data_dir)
        by_size = stores.find(data_dir, name, variant)
    stored = stores.choose(by_size, short_side)
    if stored is None:
        raise _not_prepared(name, data_dir, by_size, short_side)
    prepared = stores.load_prepared(stored.folder)
    if prepared is not None and prepared.partial:
        say(f"{name}: not the published data set (prepared with allow_partial)")
    clips = DATASETS[name.partition("/")[0]].clips
    return open_store(stored.folder, stored.short_side, clips)


def _not_prepared(
    name: str, data_dir: str, by_size: Mapping[int | None, Any], short_side: int | None
) -> ValueError:
    fault, option = f"is not in {data_dir}", f", short_side={short_side}"
    if by_size:
        sizes = ", ".join(str(size) for size in sorted(size for size in by_size if size))
        fault = f"is in {data_dir} with a short side of {sizes} pixels only"
    return ValueError(
        f"data set {name!r} {fault}; bring it in once with "
        f"`prepare({name!r}, source=PATH, data_dir={data_dir!r}{option if by_size else ''})`"
    )


def _look_up(name: str) -> tuple[Any, str, bool]:
    """(builder class, variant, needs_source) of a name."""
    dataset, _, variant = name.partition("/")
    if dataset not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    builder_class = builder_of(dataset)
    if variant and not builder_class.variants:
        raise ValueError(f"data set {name!r}: {dataset} has no variants; say {dataset}")
    if not variant and builder_class.variants:
        first, *_ = builder_class.variants
        raise ValueError(
            f"data set {name!r} comes in variants; say for example {dataset}/{first} "
            f"(known: {', '.join(builder_class.variants)})"
        )
    is_custom = builder_class.takes_own_lists and re.fullmatch(r"[A-Za-z]\w*", variant)
    if variant and variant not in builder_class.variants and not is_custom:
        error = unknown_name(f"variant of {dataset}", variant, builder_class.variants)
        hint = "; lists of your own are called by a word that begins with a letter"
        raise ValueError(f"{error}{hint}") if builder_class.takes_own_lists else error
    return builder_class, variant, DATASETS[dataset].needs_source


def builder_of(dataset: str) -> Any:
    """The builder class of a row of `DATASETS`."""
    entry = DATASETS[dataset]
    module = importlib.import_module(f"gtn_jax.data.builders.{entry.module}")
    return getattr(module, entry.builder)


def _check_complete(
    name: str, folder: Path, builder_class: Any, variant: str, allow_partial: bool
) -> None:
    """Reject a store made with `allow_partial` as the published data set."""
    known = dict(builder_class.known_counts.get(variant, {}))
    prepared = stores.load_prepared(folder)
    if prepared is None:  # an old store, where only images can be counted
        counts = stores.counts(folder)
        is_other = bool(known) and builder_class.unit == "images" and counts != known
        prepared = stores.Prepared(counts, "images", is_other)
    if prepared.partial and not allow_partial:
        published = f": {known}" if known and prepared.counts != known else ""
        raise ValueError(
            f"{folder} holds {prepared.counts} {prepared.unit}, not the published data set"
            f"{published}; remove it and prepare {name} anew, or pass `allow_partial=True`"
        )


def _check_source(name: str, data_dir: str, source: Path | None) -> None:
    if source is None:
        raise ValueError(
            f"data set {name!r} is made from files that you bring: "
            f"`prepare({name!r}, source=PATH, data_dir={data_dir!r})`"
        )
    if not (source.is_file() or source.is_dir()):
        raise ArgumentError("source", f"{source} is not a file or folder")


@contextlib.contextmanager
def _readable(source: Path | None, folder: Path, say: Say) -> Iterator[tuple[Path | None, Say]]:
    """Yield the source, extracted if it is an archive, and a matching `say`.

    Messages and errors of the body name the archive instead of the temporary directory.
    """
    if source is None or source.is_dir() or not archives.is_archive(source):
        yield source, say
        return
    say(f"unpacking {source}")
    with archives.unpacked(source, folder) as unpacked:

        def named(line: str) -> str:
            return line.replace(str(unpacked.resolve()), str(source)).replace(
                str(unpacked), str(source)
            )

        try:
            yield unpacked, lambda line: say(named(line))
        except ValueError as error:
            raise ValueError(named(str(error))) from error

"""Names of data sets -> their images on disk.

`prepare` runs a builder once; `open_splits` opens what it wrote, a folder of photographs or a data
set of TFDS's own. Where things lie is stores.py's, reading splits.py's.
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
    """One row of `DATASETS`.

    Attributes:
        module: builder module in `gtn_jax.data.builders`.
        builder: its class.
        needs_source: whether the user must bring a file or folder; otherwise the first use
            prepares the data by itself.
        clips: whether images are frames of videos, see `gtn_jax.data.clips`.
    """

    module: str
    builder: str
    needs_source: bool
    clips: bool = False


DATASETS = {
    "digits": DatasetEntry("digits", "Digits", needs_source=False),
    "tiny_imagenet": DatasetEntry("tiny_imagenet", "TinyImagenet", needs_source=True),
    "cub200": DatasetEntry("cub200", "Cub200", needs_source=True),
    "dtd": DatasetEntry("dtd", "Dtd", needs_source=True),
    "minc2500": DatasetEntry("minc2500", "Minc2500", needs_source=True),
    "mit67": DatasetEntry("mit67", "Mit67", needs_source=True),
    "ucf101": DatasetEntry("ucf101", "Ucf101", needs_source=True, clips=True),
    "fashionai": DatasetEntry("fashionai", "Fashionai", needs_source=True),
}
"""Name -> builder. A later data set is one builder file and one row."""


def prepare(
    name: str,
    data_dir: str,
    source: Path | None = None,
    short_side: int | None = 256,
    allow_partial: bool = False,
    say: Say | None = None,
) -> dict[str, int]:
    """Build a data set into `data_dir`; where it is already there, only count.

    Args:
        name: in `DATASETS`, with its variant: dtd/1.
        data_dir: folder of prepared data sets.
        source: folder, file or archive that it is made from, where one is needed.
        short_side: of the stored images, in pixels; None stores the files as they are, as digits
            and tiny_imagenet always do.
        allow_partial: go on over missing and unreadable files and wrong counts.
        say: takes lines for the user.

    Returns:
        Images per split.

    Raises:
        ValueError: unknown name, or a source that is missing or not what the builder reads.
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
            # The one that was waited for may have done it.
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
    _check_whole(name, folder, builder_class, variant, allow_partial)
    return stores.counts(folder)


def open_data(data: DataConfig, say: Say = print) -> dict[str, Split]:
    """`open_splits` as a config says."""
    short_side = data.resize_size or data.image_size
    return open_splits(data.name, data.data_dir, short_side, data.bad_images, say)


def absolute(data: DataConfig) -> DataConfig:
    """The same data for whoever stands in another folder: paths from the root, or from home."""
    name = _folder_named(data.name)
    path = name.removeprefix(FOLDER_PREFIX)
    name = f"{FOLDER_PREFIX}{_from_root(path)}" if FOLDER_PREFIX + path == name else name
    return dataclasses.replace(data, name=name, data_dir=_from_root(data.data_dir))


def _folder_named(name: str) -> str:
    """`photos/` -> `folder:photos/`, where that is a folder and no data set has the name."""
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
    """Every split of a prepared data set; one that needs no source is prepared on first use.

    Args:
        name: in `DATASETS`, with its variant; tfds:NAME; or folder:PATH, also without `folder:`
            where PATH is a folder and no data set has that name.
        data_dir: folder of prepared data sets.
        short_side: that images shall have or exceed, in pixels. Taken is the store of that size,
            else that of files as they came, else the smallest larger one. None: of files as they
            came, else the largest.
        bad_images: unreadable files of a folder: "error" names them, "skip" leaves them out.
        say: takes lines for the user.

    Raises:
        ValueError: unknown name, not prepared yet, or too small.
    """
    name = _folder_named(name)
    if name.startswith(FOLDER_PREFIX):
        path = name.removeprefix(FOLDER_PREFIX)
        return open_folder(path, data_dir, short_side, bad_images, say)
    if name.startswith(tfds_catalog.PREFIX):
        return tfds_catalog.open_stock(name, data_dir, say)
    builder_class, variant, needs_source = _look_up(name)
    found = stores.find(data_dir, name, variant)
    if not found and not needs_source:
        prepare(name, data_dir)
        found = stores.find(data_dir, name, variant)
    stored = stores.choose(found, short_side)
    if stored is None:
        raise _not_prepared(name, data_dir, found, short_side)
    prepared = stores.load_prepared(stored.folder)
    if prepared is not None and prepared.partial:
        say(f"{name}: not the published data set (prepared with allow_partial)")
    clips = DATASETS[name.partition("/")[0]].clips
    return open_store(stored.folder, stored.short_side, clips)


def _not_prepared(
    name: str, data_dir: str, found: Mapping[int | None, Any], short_side: int | None
) -> ValueError:
    fault, wish = f"is not in {data_dir}", f", short_side={short_side}"
    if found:
        sizes = ", ".join(str(size) for size in sorted(size for size in found if size))
        fault = f"is in {data_dir} with a short side of {sizes} pixels only"
    return ValueError(
        f"data set {name!r} {fault}; bring it in once with "
        f"`prepare({name!r}, source=PATH, data_dir={data_dir!r}{wish if found else ''})`"
    )


def _look_up(name: str) -> tuple[Any, str, bool]:
    """(builder class, variant, whether it needs a source) of a name."""
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
    is_own = builder_class.takes_own_lists and re.fullmatch(r"[A-Za-z]\w*", variant)
    if variant and variant not in builder_class.variants and not is_own:
        error = unknown_name(f"variant of {dataset}", variant, builder_class.variants)
        own = "; lists of your own are called by a word that begins with a letter"
        raise ValueError(f"{error}{own}") if builder_class.takes_own_lists else error
    return builder_class, variant, DATASETS[dataset].needs_source


def builder_of(dataset: str) -> Any:
    """The builder class of a row of `DATASETS`."""
    entry = DATASETS[dataset]
    module = importlib.import_module(f"gtn_jax.data.builders.{entry.module}")
    return getattr(module, entry.builder)


def _check_whole(
    name: str, folder: Path, builder_class: Any, variant: str, allow_partial: bool
) -> None:
    """A store that `allow_partial` made must not pass for the published data set."""
    known = dict(builder_class.known_counts.get(variant, {}))
    prepared = stores.load_prepared(folder)
    if prepared is None:  # an older one: its images are all that can be counted
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
    """The source, unpacked where it is an archive, and a `say` that calls it as the user does.

    Errors from the body call it so, too: the user knows of no temporary folder.
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

"""Data sets of TFDS's catalog: `tfds:NAME` or `tfds:NAME/CONFIG`.

https://www.tensorflow.org/datasets/catalog. Reading ArrayRecord files needs no TensorFlow;
preparing some data sets does. Images are not resized.
"""

import contextlib
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tensorflow_datasets as tfds

from gtn_jax.data.folder import SPLIT_FOLDERS
from gtn_jax.data.progress import only_errors
from gtn_jax.data.splits import Split
from gtn_jax.data.stores import undamaged
from gtn_jax.errors import one_line, unknown_name

PREFIX = "tfds:"
CATALOGUE = "https://www.tensorflow.org/datasets/catalog/overview"
_FILE_NAMES = ("file_name", "image/filename", "filename", "image/file_name", "file")
_NAME = re.compile(r"[a-z][a-z0-9_]*(/\w[\w.-]*)?")


class StockSource:
    """Records of a split as `{"image": bytes, "label": int, "file": bytes}`."""

    def __init__(self, records: Any, features: Any, names: tuple[str, str, str | None]):
        """`records` are raw bytes; `names` are the features of image, label and file."""
        self._records, self._names = records, names
        # Only these are decoded, as other features may need TensorFlow.
        selected = {name: features[name] for name in names if name is not None}
        self._features: Any = tfds.features.FeaturesDict(selected)

    def __len__(self) -> int:
        """Number of images."""
        return len(self._records)

    def __getitems__(self, positions: Sequence[int]) -> list[dict[str, Any]]:
        """Examples at these positions; without a file feature, the position is the file's name."""
        image, label, file = self._names
        examples = []
        records = self._records.__getitems__(list(positions)) if len(positions) else []
        for position, record in zip(positions, records, strict=True):
            as_stored = {image: tfds.decode.SkipDecoding()}
            example = self._features.deserialize_example_np(record, decoders=as_stored)
            name = example[file] if file else f"{position:07d}".encode()
            examples.append({"image": example[image], "label": int(example[label]), "file": name})
        return examples


def open_stock(name: str, data_dir: str, say: Callable[[str], None] = print) -> dict[str, Split]:
    """Every usable split of `tfds:NAME[/CONFIG]`, which is prepared on first use if possible.

    Raises:
        ValueError: an unknown name, a failed preparation, files that need TensorFlow, or not
            exactly one image and one label feature.
    """
    plain = name.removeprefix(PREFIX)
    if not _NAME.fullmatch(plain):
        raise ValueError(f"data.name: invalid value {name!r}; expected {PREFIX}NAME or NAME/CONFIG")
    folder = Path(data_dir).expanduser()
    prepared = _find(folder, plain)
    if prepared is None:
        _prepare(plain, folder, say)
        prepared = _find(folder, plain)
        if prepared is None:
            raise ValueError(f"{name}: TFDS has prepared nothing in {data_dir}")
    with undamaged(prepared):
        builder: Any = tfds.builder_from_directory(prepared)
        features = builder.info.features
    names = _feature_names(name, features)
    classes = tuple(features[names[1]].names)
    splits = {}
    for stored in builder.info.splits:
        split = SPLIT_FOLDERS.get(str(stored).lower())
        if split is None:
            continue
        records = _records(builder, stored, name, plain, folder)
        source = StockSource(records, features, names)
        opened = Split(source, classes, split, folder=prepared)
        # A test split with secret labels has -1 for all of them.
        if len(opened) and opened.read([0])[0]["label"] >= 0:
            splits[split] = opened
    if "train" not in splits:
        existing = ", ".join(map(str, builder.info.splits))
        raise ValueError(f"{name}: no labeled split called train; there are {existing}")
    return splits


def _find(folder: Path, plain: str) -> Path | None:
    """The newest prepared version, of the only prepared config if none is named."""
    versions = [
        path.parent
        for depth in ("*", "*/*")
        for path in (folder / plain).glob(f"{depth}/dataset_info.json")
        if re.fullmatch(r"\d+\.\d+\.\d+", path.parent.name)
    ]
    homes = sorted({path.parent for path in versions})
    if len(homes) > 1:
        configs = ", ".join(home.name for home in homes)
        raise ValueError(f"{PREFIX}{plain}: several are prepared; say which, of {configs}")
    return max(
        versions, key=lambda path: [int(part) for part in path.name.split(".")], default=None
    )


def _records(builder: Any, split: Any, name: str, plain: str, folder: Path) -> Any:
    try:
        raw = tfds.decode.DeserializeMethod.RAW_BYTES
        return builder.as_data_source(split=split, deserialize_method=raw)
    except NotImplementedError as error:
        kind = builder.info.file_format.value
        raise ValueError(
            f"{name}: prepared as {kind}, which needs TensorFlow to be read; where that is "
            f"installed, run {_command(plain, folder)} in another folder, and bring the result here"
        ) from error


def _feature_names(name: str, features: Any) -> tuple[str, str, str | None]:
    """Names of the image, label and (optional) file name features."""
    kinds = {"image": tfds.features.Image, "label": tfds.features.ClassLabel}
    names = {}
    for role, kind in kinds.items():
        candidates = [key for key in features if isinstance(features[key], kind)]
        if role not in candidates and len(candidates) != 1:
            present = ", ".join(f"{key} ({type(features[key]).__name__})" for key in features)
            number = "several" if candidates else "no"
            raise ValueError(
                f"{name}: {number} {kind.__name__} feature to be the {role}: {present}"
            )
        names[role] = role if role in candidates else candidates[0]
    file = next((key for key in _FILE_NAMES if key in features), None)
    return names["image"], names["label"], file


def _command(plain: str, folder: Path) -> str:
    return (
        '`python -c "import tensorflow_datasets as t; '
        f"t.builder('{plain}', data_dir='{folder}', file_format='array_record')"
        '.download_and_prepare()"`'
    )


def _prepare(plain: str, folder: Path, say: Callable[[str], None]) -> None:
    name = PREFIX + plain
    # urllib3 logs every retry, and TFDS prints a banner without TensorFlow.
    try:
        with contextlib.redirect_stdout(io.StringIO()), only_errors("urllib3"):
            builder = tfds.builder(plain, data_dir=folder, file_format="array_record")
        # Only after the name was found.
        say(f"{name}: not in {folder}; TFDS downloads and prepares it, once")
        with contextlib.redirect_stdout(io.StringIO()), only_errors("urllib3"):
            builder.download_and_prepare()
    except tfds.core.DatasetNotFoundError:
        known = tfds.list_builders(with_community_datasets=False)
        wanted = plain.partition("/")[0]
        raise unknown_name("data set of TFDS", wanted, known, CATALOGUE) from None
    except Exception as error:  # builders raise all kinds of errors
        command = _command(plain, folder)
        causes: list[BaseException] = [error]
        while cause := causes[-1].__cause__ or causes[-1].__context__:
            causes.append(cause)
        modules = {(c.name or "").split(".")[0] for c in causes if isinstance(c, ImportError)}
        if "tensorflow" in modules:
            raise ValueError(
                f"{name}: preparing it needs TensorFlow once, reading does not; where that is "
                f"installed, run {command} and bring the folder here"
            ) from error
        if any(_is_network(cause) for cause in causes):
            raise ValueError(
                f"{name}: no network to download it; where there is one, run {command} and bring "
                "the folder here"
            ) from error
        raise ValueError(
            f"{name}: TFDS could not prepare it ({type(error).__name__}: {one_line(error)})"
        ) from error


def _is_network(error: BaseException) -> bool:
    library = type(error).__module__.split(".")[0]
    return library in ("requests", "urllib3", "urllib", "socket") or isinstance(
        error, ConnectionError | TimeoutError
    )

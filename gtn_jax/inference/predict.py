"""Class names and probabilities of image files, by the selected weights of a run.

Preprocessing is that of evaluation, without test-time augmentation. A file that is not an image is
reported, and the others are still classified.
"""

import csv
import functools
import io
import itertools
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from gtn_jax.arrays import Batch
from gtn_jax.data.decode import decode
from gtn_jax.data.files import read_regular
from gtn_jax.data.folder import image_files
from gtn_jax.data.threads import ordered_map
from gtn_jax.devices import data_mesh, put_batch
from gtn_jax.errors import ArgumentError
from gtn_jax.files import write_bytes
from gtn_jax.inference.restore import Restored, restore

OUT_SUFFIXES = (".csv", ".json")


class Prediction(NamedTuple):
    """The most probable classes of an image file, best first, and their probabilities."""

    file: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


class Unreadable(NamedTuple):
    """A file that could not be classified, and the reason in one line that names the file."""

    file: str
    reason: str


def predict(
    run: str | Path | Restored, paths: str | Path | Sequence[str | Path], topk: int = 3
) -> list[Prediction]:
    """Classify images: `gtn_jax.predict("runs/first", "photos")`.

    Args:
        run: run folder, or the result of `restore`, for repeated calls.
        paths: an image file, a folder of them or a pattern; or several.
        topk: number of classes per file.

    Returns:
        One prediction per readable file, in the order of `paths`, sorted within a folder.

    Raises:
        ValueError: no run or checkpoint, no path, or `topk` below 1.

    Warns:
        UserWarning: a path or file that could not be classified, with the reason. By default
            Python shows repeated warnings only once.

    Example:
        Two images of digits, by the run in the example of `gtn_jax.train`:

        >>> import gtn_jax
        >>> from PIL import Image
        >>> from sklearn.datasets import load_digits
        >>> for name, pixels in zip(("zero", "one"), load_digits().images):
        ...     Image.fromarray((15 * pixels).astype("uint8")).save(f"{name}.png")
        >>> for found in gtn_jax.predict("runs/digits", ["zero.png", "one.png"]):
        ...     print(found.file, found.classes[0], round(found.probabilities[0], 2))
        zero.png 0 0.99
        one.png 1 0.62
    """
    several = [paths] if isinstance(paths, str | Path) else paths
    files = [Path(path) for path in several]
    good, _ = predict_paths(run, files, topk, lambda line: warnings.warn(line, stacklevel=4))
    return good


def predict_files(
    run: Restored, files: Sequence[Path], topk: int = 3
) -> Iterator[Prediction | Unreadable]:
    """Classify image files, in batches of the run's `data.eval_batch_size`.

    Yields:
        One result per file, in order, with `topk` or all classes.

    Raises:
        ValueError: `topk` below 1.
    """
    if topk < 1:
        raise ArgumentError("topk", f"{topk}, expected at least 1")
    mesh = data_mesh()
    # A smaller batch for few files, divisible by the number of devices.
    wanted = max(1, min(run.config.data.eval_batch_size, len(files)))
    batch_size = -(-wanted // mesh.size) * mesh.size
    data = run.config.data
    read = functools.partial(_read, image_size=data.evaluation_size, short_side=data.resize_size)
    all_images = ordered_map(read, files)

    def results(files: Sequence[Path], images: Sequence[Any], rows: Any) -> Iterator[Any]:
        probabilities = iter(() if rows is None else np.asarray(rows))
        for file, image in zip(files, images, strict=True):
            is_bad = isinstance(image, Unreadable)
            yield image if is_bad else _best(file, next(probabilities), run.classes, topk)

    computed: tuple[Sequence[Path], list[np.ndarray | Unreadable], Any] | None = None
    for start in range(0, len(files), batch_size):
        chunk = files[start : start + batch_size]
        images = list(itertools.islice(all_images, len(chunk)))
        pixels = [image for image in images if not isinstance(image, Unreadable)]
        rows = None
        if pixels:
            batch = put_batch(_padded(pixels, batch_size), mesh)
            rows = run.setup.programs.probabilities_step(run.variables, batch)
        # The results of one batch are read while the next one is computed.
        if computed is not None:
            yield from results(*computed)
        computed = chunk, images, rows
    if computed is not None:
        yield from results(*computed)


def predict_paths(
    run: str | Path | Restored,
    paths: Sequence[Path],
    topk: int,
    print_error: Callable[[str], None],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Prediction], int]:
    """The work of `gtn predict`, without its output.

    `print_error` receives a line for each path that cannot be classified, `progress` the numbers of
    finished and of all files. Returns the predictions and the number of failed paths.

    Raises:
        ValueError: no path, no run or checkpoint, or `topk` below 1.
    """
    if not paths:
        raise ArgumentError("paths", "none given; name image files, or folders of them")
    files, problems = image_files(paths)
    restored = run if isinstance(run, Restored) else restore(Path(run))
    for problem in problems:
        print_error(problem)
    good, bad = [], len(problems)
    for done, answer in enumerate(predict_files(restored, files, topk), 1):
        progress(done, len(files))
        if isinstance(answer, Prediction):
            good.append(answer)
        else:
            print_error(answer.reason)
            bad += 1
    return good, bad


def prediction_table(predictions: Sequence[Prediction]) -> Table:
    """A row per file: its path, then classes with their probabilities in percent."""
    table = Table("file", box=box.SIMPLE)
    for rank in range(len(predictions[0].classes)):
        table.add_column("class" if rank == 0 else f"class {rank + 1}")
    for file, classes, probabilities in predictions:
        pairs = zip(classes, probabilities, strict=True)
        cells = (f"{name} {100 * probability:.1f} %" for name, probability in pairs)
        # Text, as rich would interpret names like "[red]" as markup.
        table.add_row(Text(file, overflow="fold"), *(Text(cell) for cell in cells))
    return table


def _read(file: Path, image_size: int, short_side: int | None) -> np.ndarray | Unreadable:
    try:
        return decode(read_regular(file), image_size, str(file), short_side)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        return Unreadable(str(file), reason if str(file) in reason else f"{file}: {reason}")


def _padded(pixels: list[np.ndarray], batch_size: int) -> Batch:
    """A batch of `batch_size` rows, padded with black images, so that one shape is compiled."""
    images = np.zeros((batch_size, *pixels[0].shape), np.uint8)
    images[: len(pixels)] = pixels
    return Batch(images, np.zeros(batch_size, np.int32), np.zeros(batch_size, np.float32))


def _best(file: Path, row: np.ndarray, classes: tuple[str, ...], topk: int) -> Prediction:
    order = np.argsort(-row, kind="stable")[:topk]
    names = tuple(classes[label] for label in order)
    return Prediction(str(file), names, tuple(float(row[label]) for label in order))


def check_out(path: Path, overwrite: bool = False) -> None:
    """Refuse an output file that cannot be written, before any work.

    Raises:
        ValueError: neither .csv nor .json, a folder, in a missing folder, or an existing file
            without `overwrite`.
    """
    if path.suffix.lower() not in OUT_SUFFIXES:
        raise ArgumentError("out", f"{path} must end in {' or '.join(OUT_SUFFIXES)}")
    if path.is_dir():
        raise ArgumentError("out", f"{path} is a folder; name a file")
    if not path.parent.is_dir():
        raise ArgumentError("out", f"{path.parent}: no such folder; make it first")
    if path.exists() and not overwrite:
        raise ArgumentError("out", f"{path} exists; name another file, or pass `overwrite=True`")


def write_predictions(predictions: Sequence[Prediction], path: Path) -> None:
    """Write predictions; a file at `path` is replaced atomically.

    A .csv has the columns file, class, probability, class_2, probability_2, ...; a .json is a list
    of `{"file": ..., "classes": [...], "probabilities": [...]}`.

    Raises:
        ValueError: from `check_out`.
    """
    check_out(path, overwrite=True)
    text = io.StringIO(newline="")
    if path.suffix.lower() == ".json":
        rows = [prediction._asdict() for prediction in predictions]
        text.write(json.dumps(rows, indent=2) + "\n")
    else:
        csv.writer(text).writerows(_csv_rows(predictions))
    # File names on Linux may be invalid UTF-8; such bytes are escaped.
    write_bytes(path, text.getvalue().encode(errors="backslashreplace"))


def _csv_rows(predictions: Sequence[Prediction]) -> Iterator[list[str]]:
    count = len(predictions[0].classes) if predictions else 1
    header = ["file", "class", "probability"]
    for rank in range(2, count + 1):
        header += [f"class_{rank}", f"probability_{rank}"]
    yield header
    for prediction in predictions:
        row = [prediction.file]
        for name, probability in zip(prediction.classes, prediction.probabilities, strict=True):
            row += [name, f"{probability:.6f}"]
        yield row

"""Image files -> class names and probabilities, by the weights that a run selected.

Pixels take the way that they take in evaluation: `decode` to the run's image size, then its mean
and deviation. A file that is no image is reported and does not stop the others. Nothing is
augmented or averaged over crops.
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
from gtn_jax.data.image_files import image_files
from gtn_jax.data.threads import ordered_map
from gtn_jax.devices import data_mesh, put_batch
from gtn_jax.errors import UsageError
from gtn_jax.files import write_bytes
from gtn_jax.inference.restore import Restored, restore

OUT_SUFFIXES = (".csv", ".json")


class Prediction(NamedTuple):
    """What the model makes of one image.

    Attributes:
        file: its path, as found.
        classes: the most probable ones, best first.
        probabilities: theirs, 0 to 1; over all classes they add up to 1.
    """

    file: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]


class Unreadable(NamedTuple):
    """A file that could not be predicted.

    Attributes:
        file: its path.
        reason: one line that names it.
    """

    file: str
    reason: str


def predict(
    run: str | Path | Restored, paths: str | Path | Sequence[str | Path], topk: int = 3
) -> list[Prediction]:
    """Name the classes of images.

    Args:
        run: run folder, or what `restore` made of one, for many calls.
        paths: an image file, a folder of them or a pattern; or several.
        topk: classes a file.

    Returns:
        One prediction a readable file, in the order of `paths`, sorted within a folder.

    Raises:
        ValueError: no run or no checkpoint, no path, or `topk` below 1.

    Warns:
        UserWarning: a path or file that could not be predicted, with its reason. Python shows one
            of the same words and line only once, unless told otherwise.

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

    Args:
        run: from `restore`.
        files: encoded images.
        topk: classes a file; all of them where there are fewer.

    Yields:
        One answer a file, in their order.

    Raises:
        ValueError: `topk` below 1.
    """
    if topk < 1:
        raise UsageError(f"topk: {topk}, expected at least 1")
    mesh = data_mesh()
    # Few files are no reason to compute a full batch; the devices share whatever it is.
    wanted = max(1, min(run.config.data.eval_batch_size, len(files)))
    batch_size = -(-wanted // mesh.size) * mesh.size
    data = run.config.data
    read = functools.partial(_read, image_size=data.evaluation_size, short_side=data.resize_size)
    all_images = ordered_map(read, files)
    computed: tuple[Sequence[Path], list[np.ndarray | Unreadable], Any] | None = None
    for start in range(0, len(files), batch_size):
        chunk = files[start : start + batch_size]
        images = list(itertools.islice(all_images, len(chunk)))
        pixels = [image for image in images if not isinstance(image, Unreadable)]
        rows = None
        if pixels:
            batch = put_batch(_padded(pixels, batch_size), mesh)
            rows = run.setup.programs.probabilities_step(run.variables, batch)
        # One batch is computed while the answers to the one before are read.
        if computed is not None:
            yield from _answers(*computed, run.classes, topk)
        computed = chunk, images, rows
    if computed is not None:
        yield from _answers(*computed, run.classes, topk)


def _answers(
    files: Sequence[Path],
    images: list[np.ndarray | Unreadable],
    rows: Any,
    classes: tuple[str, ...],
    topk: int,
) -> Iterator[Prediction | Unreadable]:
    probabilities = iter(() if rows is None else np.asarray(rows))
    for file, image in zip(files, images, strict=True):
        is_bad = isinstance(image, Unreadable)
        yield image if is_bad else _best(file, next(probabilities), classes, topk)


def predict_paths(
    run: str | Path | Restored,
    paths: Sequence[Path],
    topk: int,
    print_error: Callable[[str], None],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[list[Prediction], int]:
    """Everything that `gtn predict` does before it shows or writes.

    Args:
        run: run folder, or what `restore` made of one.
        paths: image files, folders of them, and patterns.
        topk: classes a file.
        print_error: takes a line for every path that could not be predicted, as soon as it is
        known.
        progress: takes how many files are done, of how many.

    Returns:
        The predictions, and how many paths could not be predicted.

    Raises:
        ValueError: no path, no run or no checkpoint, or `topk` below 1.
    """
    if not paths:
        raise UsageError("PATH: none given; name image files, or folders of them")
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
    """A row a file: its path, then each class with its probability in percent."""
    table = Table("file", box=box.SIMPLE)
    for rank in range(len(predictions[0].classes)):
        table.add_column("class" if rank == 0 else f"class {rank + 1}")
    for file, classes, probabilities in predictions:
        pairs = zip(classes, probabilities, strict=True)
        cells = (f"{name} {100 * probability:.1f} %" for name, probability in pairs)
        # Text: a class or a file may be called "[red]", which is markup to rich.
        table.add_row(Text(file, overflow="fold"), *(Text(cell) for cell in cells))
    return table


def _read(file: Path, image_size: int, short_side: int | None) -> np.ndarray | Unreadable:
    try:
        return decode(read_regular(file), image_size, str(file), short_side)
    except (ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        return Unreadable(str(file), reason if str(file) in reason else f"{file}: {reason}")


def _padded(pixels: list[np.ndarray], batch_size: int) -> Batch:
    """A batch of `batch_size` rows, the last ones black: one shape, hence one compilation."""
    images = np.zeros((batch_size, *pixels[0].shape), np.uint8)
    images[: len(pixels)] = pixels
    return Batch(images, np.zeros(batch_size, np.int32), np.zeros(batch_size, np.float32))


def _best(file: Path, row: np.ndarray, classes: tuple[str, ...], topk: int) -> Prediction:
    order = np.argsort(-row, kind="stable")[:topk]
    names = tuple(classes[label] for label in order)
    return Prediction(str(file), names, tuple(float(row[label]) for label in order))


def check_out(path: Path, overwrite: bool = False) -> None:
    """Refuse, before any work, a file that predictions could not be written to.

    Args:
        path: the file.
        overwrite: it may exist.

    Raises:
        ValueError: neither .csv nor .json, a folder, in no existing one, or there already.
    """
    if path.suffix.lower() not in OUT_SUFFIXES:
        raise UsageError(f"--out: {path} must end in {' or '.join(OUT_SUFFIXES)}")
    if path.is_dir():
        raise UsageError(f"--out: {path} is a folder; name a file")
    if not path.parent.is_dir():
        raise UsageError(f"--out: {path.parent}: no such folder; make it first")
    if path.exists() and not overwrite:
        raise UsageError(f"--out: {path} exists; name another file, or add --overwrite")


def write_predictions(predictions: Sequence[Prediction], path: Path) -> None:
    """Write all predictions; what is at `path` is replaced in one step.

    A .csv has the columns file, class, probability, class_2, probability_2, ...; a .json is a list
    of `{"file": ..., "classes": [...], "probabilities": [...]}`.

    Raises:
        ValueError: as `check_out`, but for a file that exists.
    """
    check_out(path, overwrite=True)
    text = io.StringIO(newline="")
    if path.suffix.lower() == ".json":
        rows = [prediction._asdict() for prediction in predictions]
        text.write(json.dumps(rows, indent=2) + "\n")
    else:
        csv.writer(text).writerows(_csv_rows(predictions))
    # A file name need not be valid UTF-8 on Linux; what is not is written as an escape.
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

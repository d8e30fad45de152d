"""One self-contained HTML page about runs or a comparison.

Figures come from the files of a run folder, thumbnails from its data set if that is unchanged; no
model is run.
"""

import contextlib
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from gtn_jax.analysis import compare
from gtn_jax.analysis.answers import by_class, confusion_matrix, most_confused
from gtn_jax.analysis.charts import line_chart
from gtn_jax.analysis.comparison_table import accuracy_chart, accuracy_table, cost_table, summarize
from gtn_jax.analysis.html import Child, Element, element, from_rich, image, page, table
from gtn_jax.analysis.methods import Rates
from gtn_jax.analysis.tuning import FILE as TUNING_FILE
from gtn_jax.analysis.tuning import tuning_rows
from gtn_jax.config.serialization import from_json, to_json
from gtn_jax.data.decode import decode_whole
from gtn_jax.data.sources import open_data
from gtn_jax.data.subsets import choose, fingerprint
from gtn_jax.errors import ArgumentError, one_line
from gtn_jax.files import write_text
from gtn_jax.runs.folder import RunFolder
from gtn_jax.runs.predictions import SavedPredictions

_MOST_WRONG = 24
_WHOLE_MATRIX = 30
_SPLITS = ("test", "validation")
_SHORT_SIDE = 96


def write_report(paths: Sequence[Path], out: Path | None = None, split: str | None = None) -> Path:
    """Write the page, and return its path.

    Args:
        paths: run folders, or the folder of a comparison.
        out: file to write; None: report.html in the only folder of `paths`.
        split: test or validation; None: test if the run was evaluated on it.

    Raises:
        ValueError: a folder that is neither a run nor a comparison, several folders without `out`,
            another split, or a file that cannot be read or written.
    """
    if split not in (None, *_SPLITS):
        raise ArgumentError("split", f"a report looks at {' or '.join(_SPLITS)}, not {split!r}")
    if out is None:
        if len(paths) != 1:
            raise ArgumentError(
                "out", "where to? name a file, or one run, whose folder gets the page"
            )
        out = paths[0] / "report.html"
    elif not out.parent.is_dir():
        raise ArgumentError("out", f"{out.parent}: no such folder; make it first")
    sections: list[Child] = []
    for path in paths:
        is_comparison = any((path / file).exists() for file in (compare.FILE, TUNING_FILE))
        sections += comparison_sections(path) if is_comparison else run_sections(path, split)
    title = ", ".join(path.resolve().name for path in paths)
    write_text(out, page(f"{title}: report", *sections))
    return out


def run_sections(path: Path, split: str | None) -> list[Child]:
    """One run: headline, learning curves, errors, gate, configuration."""
    folder = RunFolder(path)
    config, summary, classes = folder.config(), folder.summary(), folder.classes()
    if split is None:
        known = [name for name in _SPLITS if f"{name}_accuracy" in (summary or {})]
        split = known[0] if known else _SPLITS[0]
    name = path.resolve().name
    about = (
        f"{config.model.backbone}, gate {config.model.gate}, on {config.data.name}: "
        f"{len(classes)} classes"
    )
    sections: list[Child] = [element("h1", None, name)]
    if summary is None:
        sections.append(element("p", {"class": "headline"}, "not finished"))
    elif f"{split}_accuracy" in summary:
        accuracy, count = summary[f"{split}_accuracy"], summary[f"{split}_images"]
        words = f"{100 * accuracy:.2f} % of {count:,} {split} images correct"
        sections.append(element("p", {"class": "headline"}, words))
    else:
        words = f"This run was not evaluated on {split} images."
        sections.append(element("p", {"class": "headline"}, words))
    sections += [element("p", {"class": "soft"}, about), *_curves(folder)]
    predictions = folder.predictions(split)
    if predictions is not None:
        sections += _confusion(predictions, classes) + _by_class(predictions, classes)
        images = thumbnails(folder, split, _worst(predictions))
        sections += _most_wrong(predictions, classes, images)
    elif f"{split}_accuracy" in (summary or {}):
        words = f"No predictions of {split} images: this run is from an older version."
        sections.append(element("p", None, words))
    sections += _gate_plots(path)
    sections += [
        element("h2", None, "Configuration"),
        element("pre", {"tabindex": "0"}, to_json(config)),
        element("p", None, "Reproduce: ", element("code", None, f"gtn evaluate {path}"),
                "" if split == "test" else f" for the {split} split"),
        *_starts(folder),
    ]  # fmt: skip
    return sections


def comparison_sections(path: Path) -> list[Child]:
    """A comparison: its tables, tuning, and the experiment's configuration."""
    rows, tuned = compare.newest_rows(path), tuning_rows(path)
    summaries = summarize(rows, path)
    sections: list[Child] = [
        element("h1", None, f"{path.resolve().name}: methods compared"),
        element("figure", None, accuracy_chart(summaries)),
        from_rich(accuracy_table(summaries)),
        element("p", {"class": "soft"},
                "Test accuracy at the epoch selected on validation, mean and standard deviation "
                "over seeds; paired differences with 95 % intervals over seeds, and over seeds "
                "and test images."),
        element("h2", None, "Cost"),
        from_rich(cost_table(summaries)),
        element("p", {"class": "soft"},
                "The best epoch on test is a biased estimate."),
    ]  # fmt: skip
    if tuned:
        methods = list(dict.fromkeys(row["method"] for row in tuned))
        lines = [
            [f"{rates.backbone:g}", f"{rates.head:g}",
             *(_mean_at(tuned, method, rates) for method in methods)]
            for rates in sorted({Rates.of(row) for row in tuned})
        ]  # fmt: skip
        sections += [
            element("h2", None, "Validation accuracy % at each pair of rates"),
            table(["backbone", "head", *methods], lines),
        ]
    config = path / "config.json"
    if config.exists():
        text = to_json(from_json(config))
        sections += [element("h2", None, "Configuration"), element("pre", {"tabindex": "0"}, text)]
    return sections + _starts(RunFolder(path))


def _mean_at(tuned: list[dict], method: str, rates: Rates) -> str:
    values = [r["accuracy"] for r in tuned if (r["method"], Rates.of(r)) == (method, rates)]
    return f"{100 * np.mean(values):.1f}" if values else ""


def _curves(folder: RunFolder) -> list[Child]:
    rows = folder.rows()
    splits = [s for s in ("train", "validation") if any(row["split"] == s for row in rows)]

    def points(split: str, key: str) -> list[tuple[float, float]]:
        own = [row for row in rows if row["split"] == split and row.get(key) is not None]
        return [(row["epoch"], row[key]) for row in own]

    # The classifier's loss is comparable with validation; older versions did not log it.
    has_own = any("classifier_loss" in row for row in rows)
    loss_key = {"train": "classifier_loss" if has_own else "loss", "validation": "loss"}
    charts = [
        line_chart("loss", {split: points(split, loss_key[split]) for split in splits}),
        line_chart("accuracy", {split: points(split, "accuracy") for split in splits}),
        line_chart("learning rate", {
            "head": points("train", "learning_rate_head"),
            "backbone": points("train", "learning_rate_backbone"),
        }),
    ]  # fmt: skip
    if not any(chart is not None for chart in charts):
        return []
    return [element("h2", None, "Training"), element("div", {"class": "curves"}, *charts)]


def _confusion(predictions: SavedPredictions, classes: tuple[str, ...]) -> list[Child]:
    count = len(classes)
    matrix = confusion_matrix(predictions, count)
    if count > _WHOLE_MATRIX:
        pairs = most_confused(matrix, 20)
        lines = [[classes[pair.label], classes[pair.predicted], str(pair.images)] for pair in pairs]
        return [
            element("h2", None, "The 20 most confused pairs"),
            table(["class", "predicted", "images"], lines),
        ]
    shares = matrix / np.maximum(1, matrix.sum(axis=1, keepdims=True))
    rows = [
        [classes[i], *(_cell(int(matrix[i, j]), float(shares[i, j])) for j in range(count))]
        for i in range(count)
    ]
    return [
        element("h2", None, "Confusion matrix"),
        element("p", {"class": "soft"}, "Rows are true classes, columns predicted classes."),
        table(["", *classes], rows),
    ]


def _cell(images: int, share: float) -> Element:
    shade = {"style": f"background: rgb(37 99 235 / {0.75 * share:.2f}); padding: 0 .4rem"}
    return element("span", shade if images else {"class": "soft"}, str(images) if images else "·")


def _by_class(predictions: SavedPredictions, classes: tuple[str, ...]) -> list[Child]:
    present = by_class(confusion_matrix(predictions, len(classes)))
    shown = present if len(classes) <= _WHOLE_MATRIX else present[:20]
    title = "Accuracy by class" if shown is present else "The 20 classes with the lowest accuracy"
    rows = []
    for label, correct, images in shown:
        percent = f"{100 * correct / images:.1f}"
        bar = element("span", {"class": "bar"}, element("span", {"style": f"width: {percent}%"}))
        rows.append([classes[label], str(images), percent, bar])
    return [element("h2", None, title), table(["class", "images", "accuracy %", ""], rows)]


def _worst(predictions: SavedPredictions) -> np.ndarray:
    """Rows of wrong predictions, the lowest probability of the label first."""
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    return wrong[np.argsort(predictions.label_probability[wrong], kind="stable")][:_MOST_WRONG]


def _most_wrong(
    predictions: SavedPredictions, classes: tuple[str, ...], images: dict[int, bytes] | str
) -> list[Child]:
    rows = _worst(predictions)
    if not len(rows):
        return [element("h2", None, "Most wrong"), element("p", None, "No errors.")]
    cards = []
    for row in rows:
        label, predicted = classes[predictions.labels[row]], classes[predictions.predicted[row]]
        words = f"{predicted} ({100 * predictions.predicted_probability[row]:.0f} %)"
        truth = f"true: {label} ({100 * predictions.label_probability[row]:.0f} %)"
        picture = None
        if not isinstance(images, str) and row in images:
            alternative = f"{predictions.files[row]}: {label}, predicted {predicted}"
            picture = image(images[row], "jpeg", alternative)
        file = str(predictions.files[row])
        caption = element("figcaption", None, words, element("br"), truth, element("br"), file)
        cards.append(element("figure", None, picture, caption))
    reason = element("p", {"class": "soft"}, images) if isinstance(images, str) else None
    return [element("h2", None, "Most wrong"), reason, element("div", {"class": "wrong"}, *cards)]


def _gate_plots(path: Path) -> list[Child]:
    files = sorted((path / "gates").glob("*.png"))
    if not files:
        return []
    pictures = [
        image(file.read_bytes(), "png", f"The gate: {file.stem.replace('_', ' ')}")
        for file in files
    ]
    return [element("h2", None, "The gate"), element("div", {"class": "curves"}, *pictures)]


def _starts(folder: RunFolder) -> list[Child]:
    """Command and environment of each start and resumption."""
    sections: list[Child] = []
    for row in folder.starts():
        words = ", ".join(
            f"{value}" if key == "started" else f"{key} {value}"
            for key, value in row.items()
            if key not in ("command", "step")
        )
        begun = "Started" if not row.get("step") else f"Resumed at step {row['step']}"
        sections += [
            element("p", None, f"{begun}: ", element("code", None, str(row.get("command", "")))),
            element("p", {"class": "soft"}, words),
        ]
    return [element("h2", None, "Provenance"), *sections] if sections else []


def thumbnails(folder: RunFolder, split: str, rows: np.ndarray) -> dict[int, bytes] | str:
    """Small JPEGs of the images at `rows` of `RunFolder.predictions(split)`.

    Returns row -> file, without damaged images; or a sentence, if the data set is missing or has
    changed. A built-in data set is prepared if necessary.
    """
    predictions = folder.predictions(split)
    assert predictions is not None
    try:
        config = folder.config()
        part = choose(open_data(config.data), config.data, config.seed)[split]
        folder.check_data({split: fingerprint(part)})
        places = {file: place for place, file in enumerate(part.files.tolist())}
        images = {}
        for row in rows.tolist():
            file = str(predictions.files[row])
            with contextlib.suppress(ValueError, OSError):
                (example,) = part.split.read([int(part.positions[places[file]])])
                images[row] = _jpeg(decode_whole(example["image"], _SHORT_SIDE, file))
        return images
    except (ValueError, OSError, KeyError) as error:
        return f"No images: the run's data set is missing or has changed ({one_line(error)})."


def _jpeg(pixels: np.ndarray) -> bytes:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=80)
    return content.getvalue()

"""The folder of one run: the files that connect training to everything that reads it.

`config.json` (resolved), `classes.json`, `preprocessing.json`, `data.json` (fingerprints of the
images), `starts.jsonl` (a row per start or resume; provenance.py), `metrics.jsonl` (a row per step
and split), `summary.json` and `predictions.npz` (finished runs only; predictions.py),
`digests.json` (of those files that no longer change; digests.py), `checkpoints/` (checkpoints.py)
and, during training, `.lock` (lock.py). Does not import jax.
"""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gtn_jax import files
from gtn_jax.config import Config
from gtn_jax.config.serialization import differences, from_bytes, to_json
from gtn_jax.runs import digests
from gtn_jax.runs.digests import SealedFiles
from gtn_jax.runs.lock import LOCK_NAME
from gtn_jax.runs.predictions import SavedPredictions, parse_predictions, write_predictions
from gtn_jax.runs.row_file import append_row, parse_rows

_CONFIG, _CLASSES, _PREPROCESSING = "config.json", "classes.json", "preprocessing.json"
_DATA, _STARTS, _METRICS = "data.json", "starts.jsonl", "metrics.jsonl"
_SUMMARY, _PREDICTIONS = "summary.json", "predictions.npz"
SOURCE = "source.json"
"""Origin of imported weights, in a run without training (inference/import_checkpoint.py)."""
_AT_THE_END = (_STARTS, _METRICS, _PREDICTIONS, _SUMMARY)
"""Files that have a digest only in a finished run."""
_FROM_THE_START = (_CONFIG, _CLASSES, _PREPROCESSING, _DATA, SOURCE)


class Preprocessing(NamedTuple):
    """Normalization that the pretrained weights expect: per channel of RGB scaled to [0, 1]."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class RunFolder:
    """Paths and small files of a run; creating the object does no I/O.

    What reads or writes a file raises ValueError if it is damaged, unreadable or cannot be written.

    Args:
        path: need not exist.
        writes: False in all processes but the primary one: nothing is written.
    """

    def __init__(self, path: Path, writes: bool = True):
        self.path = path
        self._writes = writes
        self.checkpoints = path / "checkpoints"
        self._files = SealedFiles(path, writes, growing=(_STARTS, _METRICS))
        self._starts = path / _STARTS
        self._metrics = path / _METRICS

    def check(self, config: Config) -> None:
        """Check that a run of `config` may use this folder, which need not exist.

        Raises ValueError for a run of another config (naming the fields), other files, or a file.
        """
        if self._files.was_written(_CONFIG, to_json(config)):
            return
        if (self.path / _CONFIG).exists():
            changed = differences(self.config(), config)
            if changed:
                raise ValueError(
                    f"{self.path} holds a run of another config; use another run folder.\n"
                    f"here -> asked for: {'; '.join(changed)}"
                )
        elif self.path.is_dir():
            # Ignore what a process killed before config.json was complete leaves behind.
            ours = (files.TEMPORARY, "find_lr.json", "find_lr.png")
            names = [path.name for path in self.path.iterdir()]
            foreign = [n for n in names if not n.endswith(ours) and not n.startswith(LOCK_NAME)]
            if foreign:
                raise ValueError(
                    f"{self.path} is not empty and holds no run ({sorted(foreign)[0]}, ...); "
                    "choose another run folder"
                )
        elif self.path.exists():
            raise ValueError(f"{self.path} is a file; choose another run folder")

    def check_writable(self) -> None:
        """Check early that files can be written, before hours of work; raises ValueError."""
        if self._writes:
            files.check_writable(self.path)

    def start(self, config: Config, classes: tuple[str, ...], preprocessing: Preprocessing) -> None:
        """Write config (resolved), classes (in label order) and preprocessing, after `check`.

        Changes nothing in a folder with a run of `config`.
        """
        self.check(config)
        if self._writes:
            self.path.mkdir(parents=True, exist_ok=True)
        # config.json comes first: it makes the folder a run.
        texts = {
            _CONFIG: to_json(config),
            _CLASSES: json.dumps(classes, indent=2) + "\n",
            _PREPROCESSING: json.dumps(preprocessing._asdict(), indent=2) + "\n",
        }
        self._files.replace(texts, without=_AT_THE_END)

    def check_data(self, fingerprints: dict[str, dict[str, Any]]) -> None:
        """Compare split -> `subsets.fingerprint` of its images with those the run started with.

        Files added to or removed from a folder would move others between splits, so that training
        images could end up in the test set. Raises ValueError if they differ.
        """
        if self._files.was_written(_DATA, _data_text(fingerprints)):
            return
        content = self._files.read(_DATA)
        if content is None:
            return
        stored = _parse(content, self.path / _DATA, _are_fingerprints)
        for split in fingerprints:
            if split in stored and stored[split] != fingerprints[split]:
                before, now = stored[split]["images"], fingerprints[split]["images"]
                raise ValueError(
                    f"{self.path}: the data set has changed since this run began ({split}: "
                    f"{before} images then, {now} now, not the same ones).\n"
                    "Put it back as it was, or begin a new run in another run folder"
                )

    def keep_data(self, fingerprints: dict[str, dict[str, Any]]) -> None:
        """Store the fingerprints that `check_data` compares with."""
        self._files.replace({_DATA: _data_text(fingerprints)})

    def config(self) -> Config:
        """The run's config; ValueError also if the folder holds no run."""
        content = self._files.read(_CONFIG)
        if content is None:
            raise ValueError(f"{self.path} holds no run (no config.json)")
        return from_bytes(content, str(self.path / _CONFIG))

    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return tuple(self._json(_CLASSES, _are_names))

    def preprocessing(self) -> Preprocessing:
        """Mean and standard deviation of the images."""
        stored = self._json(_PREPROCESSING, _is_preprocessing)
        return Preprocessing(tuple(stored["mean"]), tuple(stored["std"]))

    def append_start(self, row: dict[str, Any]) -> None:
        """Append a row to `starts.jsonl`."""
        if self._writes:
            append_row(self._starts, row)

    def starts(self) -> list[dict[str, Any]]:
        """All rows of `starts.jsonl`; none in runs of older versions."""
        return parse_rows(self._files.read(_STARTS) or b"", self._starts)

    def append(self, row: dict[str, Any]) -> None:
        """Append a row to `metrics.jsonl`."""
        if self._writes:
            files.append_text(self._metrics, json.dumps(row) + "\n")

    def sync(self) -> None:
        """Fsync `metrics.jsonl`, before a checkpoint is written."""
        try:
            if self._writes and self._metrics.exists():
                files.sync(self._metrics)
        except OSError as error:
            raise files.not_written(self._metrics, error) from error

    def rows(self) -> list[dict[str, Any]]:
        """All complete rows of `metrics.jsonl`; a truncated last line is skipped."""
        rows = parse_rows(self._files.read(_METRICS) or b"", self._metrics)
        for number, row in enumerate(rows, 1):
            if not isinstance(row.get("step"), int):
                raise ValueError(f"{self._metrics}, line {number}: no step; mend or remove it")
        return rows

    def rewind(self, step: int) -> None:
        """Remove rows after `step`, which a resumed run writes again, and a truncated last line."""
        rows = [json.dumps(row) + "\n" for row in self.rows() if row["step"] <= step]
        if self._writes and self._metrics.exists():
            files.write_text(self._metrics, "".join(rows))

    def finish(
        self, summary: dict[str, Any], predictions: Mapping[str, SavedPredictions] | None = None
    ) -> None:
        """Write split -> predictions, if given, then the summary, which marks the run as finished;
        `seal`."""
        if not self._writes:
            return
        if predictions is not None:
            write_predictions(self.path / _PREDICTIONS, predictions)
        files.write_text(self.path / _SUMMARY, json.dumps(summary, indent=2) + "\n")
        self.seal()

    def keep_predictions(self, predictions: Mapping[str, SavedPredictions]) -> None:
        """Write `predictions.npz` alone, for trials without a run (swept_trials.py)."""
        self._files.replace({}, without=[_PREDICTIONS])
        write_predictions(self.path / _PREDICTIONS, predictions)
        self._files.seal([_PREDICTIONS])

    def unsealed(self) -> list[str]:
        """Files that should have a digest by now and have none."""
        names = _FROM_THE_START + (_AT_THE_END if self.is_finished() else ())
        return self._files.unsealed(names)

    def seal(self) -> None:
        """Add a digest of each of the `unsealed` files."""
        self._files.seal(self.unsealed())

    def is_run(self) -> bool:
        """Whether `config.json` exists or has a digest."""
        return (self.path / _CONFIG).exists() or _CONFIG in (digests.read(self.path) or {})

    def is_finished(self) -> bool:
        """Whether `summary.json` exists."""
        return (self.path / _SUMMARY).exists()

    def summary(self) -> dict[str, Any] | None:
        """Contents of `summary.json`; None for an unfinished run."""
        return self._json(_SUMMARY, _is_summary, is_optional=True)

    def predictions(self, split: str) -> SavedPredictions | None:
        """Predictions for the images of a split; None if there are none (older versions)."""
        content = self._files.read(_PREDICTIONS)
        if content is None:
            return None
        return parse_predictions(content, self.path / _PREDICTIONS, split)

    def source(self) -> dict[str, Any] | None:
        """Origin of imported weights; None for a trained run."""
        return self._json(SOURCE, lambda tree: isinstance(tree, dict), is_optional=True)

    def _json(self, name: str, is_valid: Callable[[Any], bool], is_optional: bool = False) -> Any:
        content = self._files.read(name)
        if content is None and not is_optional:
            raise ValueError(f"{self.path / name}: not readable (no such file)")
        return None if content is None else _parse(content, self.path / name, is_valid)


def _data_text(fingerprints: dict[str, dict[str, Any]]) -> str:
    return json.dumps(fingerprints, indent=2) + "\n"


def _parse(content: bytes, path: Path, is_valid: Callable[[Any], bool]) -> Any:
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not readable ({error})") from error
    if not is_valid(tree):
        raise ValueError(f"{path}: not readable (not what a run writes there)")
    return tree


def _are_names(tree: Any) -> bool:
    return isinstance(tree, list) and all(isinstance(name, str) for name in tree)


def _is_preprocessing(tree: Any) -> bool:
    """Mean and std of three channels each, the std above 0."""
    if not isinstance(tree, dict) or not tree.keys() >= {"mean", "std"}:
        return False
    rows = [tree["mean"], tree["std"]]
    if not all(isinstance(row, list) and len(row) == 3 for row in rows):
        return False
    numbers = [value for row in rows for value in row]
    is_finite = all(type(value) in (int, float) and math.isfinite(value) for value in numbers)
    return is_finite and min(tree["std"]) > 0


def _are_fingerprints(tree: Any) -> bool:
    return isinstance(tree, dict) and all(
        isinstance(part, dict) and "images" in part for part in tree.values()
    )


def _is_summary(tree: Any) -> bool:
    return isinstance(tree, dict) and isinstance(tree.get("selected_step"), int | None)

"""The folder of one run: the files that connect training to everything that reads it.

`config.json` (resolved), `classes.json`, `preprocessing.json`, `data.json` (which images),
`starts.jsonl` (one row each time that training began or went on; provenance.py), `metrics.jsonl`
(one row per step and split), `summary.json` and `predictions.npz` (only of a finished run;
predictions.py), `digests.json` (of each of these files that does not change any more; digests.py),
`checkpoints/` (checkpoints.py) and, while somebody trains here, `.lock` (lock.py). No jax here.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gtn_jax import files
from gtn_jax.config import Config
from gtn_jax.config.serialization import differences, from_bytes, to_json
from gtn_jax.runs import digests, json_files
from gtn_jax.runs.lock import LOCK_NAME
from gtn_jax.runs.predictions import Predictions, parse_predictions, write_predictions
from gtn_jax.runs.row_file import append_row, parse_rows
from gtn_jax.runs.sealed_files import SealedFiles

_CONFIG, _CLASSES, _PREPROCESSING = "config.json", "classes.json", "preprocessing.json"
_DATA, _STARTS, _METRICS = "data.json", "starts.jsonl", "metrics.jsonl"
_SUMMARY, _PREDICTIONS = "summary.json", "predictions.npz"
SOURCE = "source.json"
"""Of a run that nobody trained: where its weights come from (inference/import_checkpoint.py)."""
_AT_THE_END = (_STARTS, _METRICS, _PREDICTIONS, _SUMMARY)
"""What has a digest only once the run is finished."""
_FROM_THE_START = (_CONFIG, _CLASSES, _PREPROCESSING, _DATA, SOURCE)


class Preprocessing(NamedTuple):
    """How images are normalized, which is a matter of the weights that a run started from.

    Attributes:
        mean: of red, green and blue, of pixels scaled to [0, 1].
        std: of the same.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]


class RunFolder:
    """Paths and small files of a run; creating the object touches nothing."""

    def __init__(self, path: Path, writes: bool = True):
        """Name the files.

        Args:
            path: need not exist yet.
            writes: False for the other processes of a run, whose first one does it for all: what
                is to be written is passed over.
        """
        self.path = path
        self._writes = writes
        self.checkpoints = path / "checkpoints"
        self._files = SealedFiles(path, writes, growing=(_STARTS, _METRICS))
        self._starts = path / _STARTS
        self._metrics = path / _METRICS

    def check(self, config: Config) -> None:
        """Refuse a folder that a run of `config` must not use; an absent one is fine.

        Raises:
            ValueError: a run of another config (each field is named), files that are no run, or
                no folder at all.
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
            # What a process killed while it wrote config.json left behind is no reason to refuse.
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
        """Refuse a place that cannot be written to, before hours of work find out.

        Raises:
            ValueError: read-only, not ours or full.
        """
        if self._writes:
            files.check_writable(self.path)

    def start(self, config: Config, classes: tuple[str, ...], preprocessing: Preprocessing) -> None:
        """Write what readers need; nothing changes in a folder that has a run of `config`.

        Args:
            config: resolved.
            classes: names in label order.
            preprocessing: mean and std of the images.

        Raises:
            ValueError: as `check`.
        """
        self.check(config)
        if self._writes:
            self.path.mkdir(parents=True, exist_ok=True)
        # config.json comes first: it is what makes the folder a run.
        texts = {
            _CONFIG: to_json(config),
            _CLASSES: json.dumps(classes, indent=2) + "\n",
            _PREPROCESSING: json.dumps(preprocessing._asdict(), indent=2) + "\n",
        }
        self._files.replace(texts, without=_AT_THE_END)

    def check_data(self, found: dict[str, dict[str, Any]]) -> None:
        """Refuse images that are not those that the run began with.

        Images that were added to or removed from a folder move others from one split to another,
        and what was trained on would be tested on.

        Args:
            found: split name -> `choice.fingerprint` of its images.

        Raises:
            ValueError: other images, or the file is not readable.
        """
        if self._files.was_written(_DATA, _data_text(found)):
            return
        content = self._files.read(_DATA)
        if content is None:
            return
        kept = json_files.parse(content, self.path / _DATA, json_files.are_fingerprints)
        for split in found:
            if split in kept and kept[split] != found[split]:
                before, now = kept[split]["images"], found[split]["images"]
                raise ValueError(
                    f"{self.path}: the data set has changed since this run began ({split}: "
                    f"{before} images then, {now} now, not the same ones).\n"
                    "Put it back as it was, or begin a new run in another run folder"
                )

    def keep_data(self, found: dict[str, dict[str, Any]]) -> None:
        """Write down what `check_data` will compare with."""
        self._files.replace({_DATA: _data_text(found)})

    def config(self) -> Config:
        """The run's config.

        Raises:
            ValueError: the folder holds no run, or it is not readable.
        """
        content = self._files.read(_CONFIG)
        if content is None:
            raise ValueError(f"{self.path} holds no run (no config.json)")
        return from_bytes(content, str(self.path / _CONFIG))

    def classes(self) -> tuple[str, ...]:
        """Class names in label order.

        Raises:
            ValueError: not readable.
        """
        return tuple(self._json(_CLASSES, json_files.are_names))

    def preprocessing(self) -> Preprocessing:
        """Mean and std of the images.

        Raises:
            ValueError: not readable.
        """
        found = self._json(_PREPROCESSING, json_files.is_preprocessing)
        return Preprocessing(tuple(found["mean"]), tuple(found["std"]))

    def append_start(self, row: dict[str, Any]) -> None:
        """Add one row to `starts.jsonl`.

        Raises:
            ValueError: as `append`.
        """
        if self._writes:
            append_row(self._starts, row)

    def starts(self) -> list[dict[str, Any]]:
        """Every row of `starts.jsonl`; none of an older version's run.

        Raises:
            ValueError: a line is no row.
        """
        return parse_rows(self._files.read(_STARTS) or b"", self._starts)

    def append(self, row: dict[str, Any]) -> None:
        """Add one row to `metrics.jsonl`.

        Raises:
            ValueError: the disk is full or broken, or the folder has vanished.
        """
        if self._writes:
            files.append_text(self._metrics, json.dumps(row) + "\n")

    def sync(self) -> None:
        """Force the rows of `metrics.jsonl` to the disk, as a checkpoint will follow them.

        Raises:
            ValueError: as `append`.
        """
        try:
            if self._writes and self._metrics.exists():
                files.sync(self._metrics)
        except OSError as error:
            raise files.not_written(self._metrics, error) from error

    def rows(self) -> list[dict[str, Any]]:
        """Every whole row of `metrics.jsonl`; a torn last line is left out.

        Raises:
            ValueError: a line is no row of a run.
        """
        rows = parse_rows(self._files.read(_METRICS) or b"", self._metrics)
        for number, row in enumerate(rows, 1):
            if not isinstance(row.get("step"), int):
                raise ValueError(f"{self._metrics}, line {number}: no step; mend or remove it")
        return rows

    def rewind(self, step: int) -> None:
        """Drop rows after `step`, and a torn last line: what a resumed run will write again."""
        kept = [json.dumps(row) + "\n" for row in self.rows() if row["step"] <= step]
        if self._writes and self._metrics.exists():
            files.write_text(self._metrics, "".join(kept))

    def finish(
        self, summary: dict[str, Any], said: Mapping[str, Predictions] | None = None
    ) -> None:
        """Write `predictions.npz`, then `summary.json`, which makes the run a finished one; `seal`.

        Args:
            summary: figures.
            said: split -> what the selected weights said of its images; None where nobody asked.
        """
        if not self._writes:
            return
        if said is not None:
            write_predictions(self.path / _PREDICTIONS, said)
        files.write_text(self.path / _SUMMARY, json.dumps(summary, indent=2) + "\n")
        self.seal()

    def keep_predictions(self, said: Mapping[str, Predictions]) -> None:
        """Write `predictions.npz` alone: of what was trained without a run (swept_trials.py)."""
        self._files.replace({}, without=[_PREDICTIONS])
        write_predictions(self.path / _PREDICTIONS, said)
        self._files.seal([_PREDICTIONS])

    def unsealed(self) -> list[str]:
        """Files without a digest that a run of this version, as far as it has come, has one of.

        Raises:
            ValueError: `digests.json` is damaged.
        """
        names = _FROM_THE_START + (_AT_THE_END if self.is_finished() else ())
        return self._files.unsealed(names)

    def seal(self) -> None:
        """Give each of the `unsealed` files a digest.

        Raises:
            ValueError: `digests.json` is damaged, or cannot be written.
        """
        self._files.seal(self.unsealed())

    def is_run(self) -> bool:
        """Whether `config.json` is there, or has a digest."""
        return (self.path / _CONFIG).exists() or _CONFIG in (digests.read(self.path) or {})

    def is_finished(self) -> bool:
        """Whether `summary.json` is there; that it should be is not asked."""
        return (self.path / _SUMMARY).exists()

    def summary(self) -> dict[str, Any] | None:
        """What `finish` wrote, or None for an unfinished run.

        Raises:
            ValueError: not readable.
        """
        content = self._files.read(_SUMMARY)
        if content is None:
            return None
        return json_files.parse(content, self.path / _SUMMARY, json_files.is_summary)

    def predictions(self, split: str) -> Predictions | None:
        """What was said of a split's images; None where nothing was (an older version's run).

        Raises:
            ValueError: not readable.
        """
        content = self._files.read(_PREDICTIONS)
        if content is None:
            return None
        return parse_predictions(content, self.path / _PREDICTIONS, split)

    def source(self) -> dict[str, Any] | None:
        """Where the weights of a run come from that nobody trained; None of any other.

        Raises:
            ValueError: not readable.
        """
        content = self._files.read(SOURCE)
        if content is None:
            return None
        return json_files.parse(content, self.path / SOURCE, json_files.is_source)

    def _json(self, name: str, is_right: Callable[[Any], bool]) -> Any:
        content = self._files.read(name)
        if content is None:
            raise ValueError(f"{self.path / name}: not readable (no such file)")
        return json_files.parse(content, self.path / name, is_right)


def _data_text(found: dict[str, dict[str, Any]]) -> str:
    return json.dumps(found, indent=2) + "\n"

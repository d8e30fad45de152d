"""The folder of one run: the files that connect training to everything that reads it.

`config.json` (resolved), `classes.json`, `metrics.jsonl` (one row per step and split),
`summary.json` (only of a finished run) and `checkpoints/` (checkpoint.py). No jax here.
"""

import json
import os
from pathlib import Path
from typing import Any

from gtn_jax.config import Config, differences, from_json, to_json


class RunFolder:
    """Paths and small files of a run; creating the object touches nothing."""

    def __init__(self, path: Path):
        """`path` need not exist yet."""
        self.path = path
        self.checkpoints = path / "checkpoints"
        self._config = path / "config.json"
        self._classes = path / "classes.json"
        self._metrics = path / "metrics.jsonl"
        self._summary = path / "summary.json"

    def start(self, config: Config, classes: tuple[str, ...]) -> None:
        """Write config and classes, or check that the run that is here has the same.

        Raises:
            ValueError: the folder holds a run of another config (each field is named), or files
                that are no run.
        """
        if self._config.exists():
            self.check(config)
            return
        if self.path.exists() and any(self.path.iterdir()):
            raise ValueError(f"{self.path} is not empty and holds no run; choose another --workdir")
        self.path.mkdir(parents=True, exist_ok=True)
        _write(self._classes, json.dumps(classes, indent=2) + "\n")
        _write(self._config, to_json(config))

    def check(self, config: Config) -> None:
        """Refuse a config that is not the one of the run here (if there is one).

        Raises:
            ValueError: names each field that differs.
        """
        if not self._config.exists():
            return
        changed = differences(from_json(self._config), config)
        if changed:
            raise ValueError(
                f"{self.path} holds a run of another config; use another --workdir.\n"
                f"here -> asked for: {'; '.join(changed)}"
            )

    def config(self) -> Config:
        """The run's config.

        Raises:
            ValueError: the folder holds no run.
        """
        if not self._config.is_file():
            raise ValueError(f"{self.path} holds no run (no config.json)")
        return from_json(self._config)

    def classes(self) -> tuple[str, ...]:
        """Class names in label order."""
        return tuple(json.loads(self._classes.read_text()))

    def append(self, row: dict[str, Any]) -> None:
        """Add one row to `metrics.jsonl`."""
        with self._metrics.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def rows(self) -> list[dict[str, Any]]:
        """Every whole row of `metrics.jsonl`; a torn last line is left out."""
        if not self._metrics.exists():
            return []
        lines = self._metrics.read_text().split("\n")
        return [json.loads(line) for line in lines[:-1]]

    def rewind(self, step: int) -> None:
        """Drop rows after `step`, and a torn last line: what a resumed run will write again."""
        kept = [json.dumps(row) + "\n" for row in self.rows() if row["step"] <= step]
        if self._metrics.exists():
            _write(self._metrics, "".join(kept))

    def finish(self, summary: dict[str, Any]) -> None:
        """Write `summary.json`, which makes the run a finished one."""
        _write(self._summary, json.dumps(summary, indent=2) + "\n")

    def summary(self) -> dict[str, Any] | None:
        """What `finish` wrote, or None for an unfinished run."""
        if not self._summary.exists():
            return None
        return json.loads(self._summary.read_text())


def _write(path: Path, text: str) -> None:
    """Write and rename, so that a reader never sees half a file."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text)
    os.replace(temporary, path)

"""A run folder that nobody trained: weights from elsewhere, to be evaluated and predicted with."""

import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from gtn_jax.arrays import Variables
from gtn_jax.config import Config
from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.runs.folder import SOURCE, Preprocessing, RunFolder
from gtn_jax.training.setup import setup_of


def check_new_folder(dst: Path) -> None:
    """Refuse a place where no new run can be.

    Raises:
        ValueError: something is there, or there is no folder around it.
    """
    if dst.exists() and (not dst.is_dir() or any(dst.iterdir())):
        raise ValueError(f"{dst}: exists already; remove it, or name another folder to write")
    if not dst.parent.is_dir():
        raise ValueError(f"{dst.parent}: no such folder; make it first")


def write_run(
    dst: Path,
    config: Config,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    variables: Variables,
    source: dict[str, Any],
) -> None:
    """Write a finished run; it appears complete or not at all.

    Args:
        dst: see `check_new_folder`.
        config: that `variables` fit.
        classes: names in label order.
        preprocessing: mean and std of its images.
        variables: selected, at step 0 and with a fresh optimizer, as nothing is trained here.
        source: for `SOURCE`; its `file` is named in the summary, too.
    """
    state = setup_of(config, classes, preprocessing).state(variables)
    partial = Path(tempfile.mkdtemp(prefix=f".{dst.name}.", suffix=".partial", dir=dst.parent))
    try:
        folder = RunFolder(partial / "run")
        folder.start(config, classes, preprocessing)
        with Checkpoints(folder.checkpoints, config=config, classes=classes) as checkpoints:
            checkpoints.save(state, {"converted": True})
        (folder.path / SOURCE).write_text(json.dumps(source, indent=2) + "\n")
        # The number of steps is not in the checkpoint: step 0 is the only one here.
        folder.finish({"selected_step": 0, "converted_from": source["file"]})
        os.replace(folder.path, dst)
    finally:
        shutil.rmtree(partial)

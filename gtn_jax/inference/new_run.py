"""A run folder that nobody trained: weights from elsewhere, to be evaluated and predicted with."""

import json
from pathlib import Path
from typing import Any

from gtn_jax.arrays import Variables
from gtn_jax.config import Config
from gtn_jax.files import new_folder, write_text
from gtn_jax.training.build import build_module, build_programs
from gtn_jax.training.checkpoint import Checkpoints
from gtn_jax.training.run_folder import SOURCE, Preprocessing, RunFolder
from gtn_jax.training.state import create_state


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
    summary: dict[str, Any],
    data: dict[str, dict[str, Any]] | None = None,
) -> None:
    """Write a finished run; it appears complete or not at all.

    Args:
        dst: see `check_new_folder`.
        config: that `variables` fit.
        classes: names in label order.
        preprocessing: mean and std of its images.
        variables: selected, at step 0 and with a fresh optimizer, as nothing is trained here.
        source: for `SOURCE`.
        summary: what to say beside `selected_step`.
        data: split -> `choice.fingerprint`; None where no images are known.
    """
    model = build_module(config, len(classes))
    optimizer = build_programs(config, model, preprocessing, steps_per_epoch=1).optimizer
    state = create_state(variables, optimizer, config.optimizer.learning_rate, config.seed)
    with new_folder(dst) as partial:
        folder = RunFolder(partial)
        folder.start(config, classes, preprocessing)
        if data is not None:
            folder.keep_data(data)
        with Checkpoints(folder.checkpoints, config=config, classes=classes) as checkpoints:
            checkpoints.save(state, {"converted": True})
        write_text(folder.path / SOURCE, json.dumps(source, indent=2) + "\n")
        # The number of steps is not in the checkpoint: step 0 is the only one here.
        folder.finish({"selected_step": 0, **summary})

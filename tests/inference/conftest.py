"""A run folder with drawn weights, made without training."""

import shutil
from pathlib import Path

import pytest

from gtn_jax.models.gtn import init_variables
from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.runs.folder import Preprocessing, RunFolder
from gtn_jax.training.setup import build_module, build_programs
from gtn_jax.training.state import create_state

CLASSES = tuple(f"digit {number}" for number in range(10))


@pytest.fixture
def drawn_run(_drawn_run, tmp_path) -> Path:
    """A finished run of `tiny_config` whose weights are its random start; the test's own."""
    return shutil.copytree(_drawn_run, tmp_path / "drawn_run")


@pytest.fixture(scope="session")
def _drawn_run(tiny_backbone, tiny_config, tmp_path_factory) -> Path:
    folder = RunFolder(tmp_path_factory.mktemp("drawn") / "drawn_run")
    preprocessing = Preprocessing((0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    folder.start(tiny_config, CLASSES, preprocessing)
    model = build_module(tiny_config, len(CLASSES))
    programs = build_programs(tiny_config, model, preprocessing, steps_per_epoch=1)
    state = create_state(init_variables(model, seed=4), programs.optimizer, 0.05, 0)
    with Checkpoints(folder.checkpoints) as checkpoints:
        checkpoints.save(state, {"images": 0})
    folder.finish({"selected_step": 0})
    return folder.path

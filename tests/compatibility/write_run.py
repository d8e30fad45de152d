"""Write a finished run folder of this version, to be kept in runs/ and loaded by every later one.

    python tests/compatibility/write_run.py tests/compatibility/runs/VERSION

Every number in it is drawn from its name, so the digests in test_load.py can be had without reading
a checkpoint. Only a new format gets a new folder; an old one is never written again.
"""

import hashlib
import sys
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from gtn_jax.config import Config, DataConfig, ModelConfig, TrainingConfig
from gtn_jax.models.backbones import BACKBONES, ResNetShape
from gtn_jax.models.gtn import init_variables
from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.runs.folder import Preprocessing, RunFolder
from gtn_jax.training.setup import build_module, build_programs
from gtn_jax.training.state import TrainState, create_state

BACKBONE = "kept_for_ever"
SHAPE = ResNetShape("basic", (1, 1), width=4, stem="small", stem_stride=2)
CONFIG = Config(
    data=DataConfig(name="digits", image_size=8, batch_size=4),
    model=ModelConfig(backbone=BACKBONE, gate_reduction=4),
    training=TrainingConfig(epochs=2, freeze_epochs=1),
    seed=3,
)
CLASSES = ("cat", "dog", "élan")
PREPROCESSING = Preprocessing((0.5, 0.25, 0.125), (0.25, 0.5, 1.0))
POSITION = {"batches": {"next_index": 7}, "images": 28, "seconds": {"train": 1.25}}
STEP, ACCURACY = 7, 0.8125


def draw(state: TrainState) -> TrainState:
    """Every float array filled by the generator that its name seeds; variances are positive."""

    def fill(path, leaf):
        if not jnp.issubdtype(leaf.dtype, jnp.floating) or not leaf.ndim:
            return leaf
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        values = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(leaf.shape)
        return jnp.asarray(np.abs(values) + 0.5 if name.endswith("var") else values, leaf.dtype)

    return jax.tree_util.tree_map_with_path(fill, state)


def template() -> TrainState:
    """What a trainer of `CONFIG` restores into."""
    model = build_module(CONFIG, len(CLASSES))
    optimizer = build_programs(CONFIG, model, PREPROCESSING, steps_per_epoch=4).optimizer
    return create_state(init_variables(model, 0), optimizer, 0.5, CONFIG.seed)


def digest(tree) -> str:
    """SHA-256 over the bytes of every array, in the order of their names."""
    summed = hashlib.sha256()
    for leaf in jax.tree.leaves(tree):
        summed.update(np.asarray(leaf).tobytes())
    return summed.hexdigest()


def main(path: Path) -> None:
    BACKBONES[BACKBONE] = SHAPE
    folder = RunFolder(path)
    folder.start(CONFIG, CLASSES, PREPROCESSING)
    folder.append({"step": STEP, "epoch": 1.75, "split": "validation", "accuracy": ACCURACY})
    state = draw(template()).replace(step=jnp.int32(STEP))
    with Checkpoints(folder.checkpoints, config=CONFIG, classes=CLASSES) as checkpoints:
        checkpoints.save(state, POSITION, ACCURACY)
    folder.finish({"steps": 8, "selected_step": STEP, "selected_on": "validation"})
    for name in ("params", "batch_stats", "opt_state"):
        print(name, digest(getattr(state, name)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))

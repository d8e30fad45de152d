"""What devices tell each other in a compiled training step: counted, all of it."""

import jax
import numpy as np
import pytest

from gtn_jax.arrays import Batch, RowBatch
from gtn_jax.benchmark.collectives import collectives
from gtn_jax.data.augment import training_transform
from gtn_jax.data.targets import batch_transform
from gtn_jax.devices import data_mesh, fetch, own_rows, put_batch, replicate
from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.training.losses import gtn_loss
from gtn_jax.training.optimizer import build_optimizer, relative_schedule
from gtn_jax.training.state import create_state
from gtn_jax.training.steps import make_train_step


def size(tree) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def start_and_step():
    model = GTN("tiny", 5, gate_reduction=4)
    constant = relative_schedule("constant", 1, 1, 0.0, (), 0.1)
    optimizer = build_optimizer(0.9, 1e-4, constant, frozen_steps=0)
    start = create_state(init_variables(model, 0), optimizer, 0.1, seed=0)
    transform = training_transform((0.5,) * 3, (0.25,) * 3, True, random_shift_pixels=2)
    options = {"xla_backend_optimization_level": 0}  # of the machine code, which is not looked at
    step = make_train_step(model, optimizer, batch_transform(transform), gtn_loss(0.2))
    return start, jax.jit(step, donate_argnums=0, compiler_options=options)


@pytest.mark.parametrize(
    ("devices", "rows"),
    [
        *((1, 8), (2, 8), (4, 16)),
        *(pytest.param(*case, marks=pytest.mark.release) for case in [(1, 16), (2, 16), (4, 8)]),
    ],
)
def test_gradients_and_statistics_cross_once(start_and_step, devices, rows):
    """float32 each: gradients; mean, mean of squares and one backward sum a channel; scalars."""
    start, step = start_and_step
    batch = Batch(
        np.zeros((rows, 16, 16, 3), np.uint8), np.zeros(rows, np.int32), np.ones(rows, np.float32)
    )
    mesh = data_mesh(devices)
    compiled = step.lower(replicate(start, mesh), put_batch(batch, mesh)).compile()
    found = collectives(compiled.as_text())
    if devices == 1:
        assert found == []
        return
    assert {kind for kind, _ in found} == {"all-reduce"}
    channels = size(start.batch_stats) // 2
    scalars = sum(octets for _, octets in found) / 4 - size(start.params) - 3 * channels
    assert 3 <= scalars <= 8


def test_the_only_process_takes_all_rows_and_fetches_what_is_in_parts():
    mesh, rows = data_mesh(), np.arange(8, dtype=np.int32)
    assert own_rows(8, mesh) == slice(0, 8)
    assert own_rows(7, mesh) == slice(0, 7)
    batch = put_batch(RowBatch(rows, rows, np.ones(8, np.float32)), mesh)
    assert len(batch.rows.sharding.device_set) == 4
    np.testing.assert_array_equal(fetch(batch).rows, rows)

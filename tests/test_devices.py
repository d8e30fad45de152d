"""What devices tell each other in a compiled training step: counted, all of it."""

import jax
import numpy as np
import pytest

from gtn_jax.arrays import Batch
from gtn_jax.data.augment import training_transform
from gtn_jax.data.targets import batch_transform
from gtn_jax.devices import data_mesh, fetch, own_rows, put_batch, replicate
from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.training.losses import gtn_loss
from gtn_jax.training.optimizer import build_optimizer, relative_schedule
from gtn_jax.training.state import create_state
from gtn_jax.training.steps import make_train_step
from tests.collectives import collectives


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
    batch = put_batch(Batch(rows, rows, np.ones(8, np.float32)), mesh)
    assert len(batch.labels.sharding.device_set) == 4
    np.testing.assert_array_equal(fetch(batch).labels, rows)


HLO = """
ENTRY %main (p0: f32[8,3]) -> f32[8,3] {
  %all-reduce.1 = f32[64]{0} all-reduce(f32[64]{0} %x), channel_id=1, to_apply=%add
  %ar = (f32[3,3,4]{2,1,0}, bf16[10]{0}) all-reduce(%a, %b), replica_groups={{0,1}}, to_apply=%add
  %s = f32[5]{0} all-reduce-start(f32[5]{0} %y), to_apply=%add
  %d = f32[5]{0} all-reduce-done(f32[5]{0} %s)
  %g = (f32[2,4]{1,0}, f32[8,4]{1,0}) all-gather-start(f32[2,4]{1,0} %z), dimensions={0}
  %gd = f32[8,4]{1,0} all-gather-done(%g)
  %p = (u8[16]{0}, u8[16]{0}, u32[], u32[]) collective-permute-start(u8[16]{0} %w)
  %r = pred[] all-reduce(pred[] %flag), to_apply=%or
  ROOT %add.7 = f32[8,3]{1,0} add(f32[8,3]{1,0} %p0, f32[8,3]{1,0} %all-reduce.1)
}
"""


def test_collectives_of_a_literal_program():
    assert collectives(HLO) == [
        ("all-reduce", 4 * 64),
        ("all-reduce", 4 * 36 + 2 * 10),
        ("all-reduce", 4 * 5),
        ("all-gather", 4 * 32),
        ("collective-permute", 16),
        ("all-reduce", 1),
    ]

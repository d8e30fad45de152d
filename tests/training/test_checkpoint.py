"""What is kept, what comes back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.training.checkpoint import Checkpoints
from gtn_jax.training.optimizer import build_optimizer, relative_schedule
from gtn_jax.training.sharding import data_mesh, replicate
from gtn_jax.training.state import create_state


@pytest.fixture(scope="module")
def state():
    optimizer = build_optimizer(0.9, 0.0, 1.0, relative_schedule("constant", 1, 1, 0, (), 0.1), 0)
    variables = init_variables(GTN("tiny", 3, gate_reduction=4), 0)
    return replicate(create_state(variables, optimizer, 0.1, 0), data_mesh(2))


def at(state, step: int):
    """The state with a number in every leaf that tells the step."""
    params = jax.tree.map(lambda leaf: leaf + step, state.params)
    return state.replace(step=jnp.int32(step), params=params)


def test_latest_and_best_are_kept(state, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest_step() is None
        assert checkpoints.best_step() is None
        for step, accuracy in [(1, None), (2, 0.5), (3, 0.75), (4, 0.25), (5, None)]:
            checkpoints.save(at(state, step), {"next": step}, accuracy)
    with Checkpoints(tmp_path) as checkpoints:
        assert (checkpoints.latest_step(), checkpoints.best_step()) == (5, 3)
        for step in (3, 5):
            restored, position = checkpoints.restore(state, step)
            assert position == {"next": step}
            expected = at(state, step)
            jax.tree.map(np.testing.assert_array_equal, restored.params, expected.params)
            assert jax.tree.structure(restored) == jax.tree.structure(expected)
            assert restored.key == state.key
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.isdigit()) == ["3", "5"]


def test_restores_onto_another_number_of_devices(state, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(at(state, 1), {"next": 1}, None)
        template = replicate(state, data_mesh(4))
        restored, _ = checkpoints.restore(template, 1)
    leaf = jax.tree.leaves(restored.params)[0]
    assert len(leaf.sharding.device_set) == 4


def test_the_later_of_equally_good_steps_is_best(state, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        for step, accuracy in [(1, 0.5), (2, 0.5), (3, 0.25)]:
            checkpoints.save(at(state, step), {"next": step}, accuracy)
        checkpoints.wait()
        assert checkpoints.best_step() == 2

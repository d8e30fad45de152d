"""A state whose layout has changed takes the arrays of an older one by name."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gtn_jax.devices import data_mesh, replicate
from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.runs import state_migration
from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.runs.state_migration import StateMigrations, migrated_names
from gtn_jax.training.optimizer import build_optimizer, relative_schedule
from gtn_jax.training.state import TrainState, create_state

RULES = StateMigrations(
    renamed=((r"opt_state/inner_states/(\w+)/inner_state/1/trace/(.+)", r"opt_state/\1/\2"),),
    removed=("opt_state/inner_states/.*/(peak|current)",),
    added={"flag": False, "rate": 0.5},
)


class NewState(TrainState):
    """With another optimizer state, two new fields, and without a value for an old one."""

    flag: Any = None
    rate: Any = None


def new_layout(state: TrainState) -> NewState:
    momentum = {
        group: inner.inner_state[1].trace for group, inner in state.opt_state.inner_states.items()
    }
    bare = {group: {k: v for k, v in tree.items() if jax.tree.leaves(v)}
            for group, tree in momentum.items()}  # fmt: skip
    return NewState(
        step=state.step, refused=state.refused, params=state.params,
        batch_stats=state.batch_stats, opt_state=bare, key=state.key,
        flag=jnp.bool_(True), rate=jnp.float32(7),
    )  # fmt: skip


@pytest.fixture(scope="module")
def state():
    optimizer = build_optimizer(0.9, 0.0, relative_schedule("constant", 1, 1, 0, (), 0.1), 0)
    state = create_state(init_variables(GTN("tiny", 3, gate_reduction=4), 0), optimizer, 0.1, 0)
    # No two leaves are alike.
    leaves, structure = jax.tree.flatten(state.opt_state)
    drawn = [leaf + np.float32(number) for number, leaf in enumerate(leaves, 1)]
    opt_state = jax.tree.unflatten(structure, drawn)
    return replicate(state.replace(step=jnp.int32(4), opt_state=opt_state), data_mesh(2))


def test_an_old_optimizer_state_is_converted(state, tmp_path, monkeypatch):
    """Every leaf bit for bit, on the devices of the template; constants for what is new."""
    monkeypatch.setattr(state_migration, "MIGRATIONS", RULES)
    expected = new_layout(state)
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, {"next": 4})
        template = replicate(jax.tree.map(jnp.zeros_like, expected), data_mesh(4))
        found, position = checkpoints.restore(template, 4)
    assert position == {"next": 4}
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for name in ("params", "batch_stats", "opt_state", "step"):
        jax.tree.map(np.testing.assert_array_equal, getattr(found, name), getattr(expected, name))
    assert jax.random.key_data(found.key).tolist() == [0, 0]
    assert (bool(found.flag), float(found.rate)) == (False, 0.5)
    assert len(jax.tree.leaves(found.opt_state)[0].sharding.device_set) == 4


def test_without_a_rule_it_is_refused_by_name(state, tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, {"next": 4})
        with pytest.raises(ValueError, match="another model .*\nflag: nothing -> bool"):
            checkpoints.restore(new_layout(state), 4)


def test_names():
    stored = {"a/x": "f", "b": "f", "gone/1": "f"}
    rules = StateMigrations(renamed=((r"a/(.)", r"c/\1"), ("a/x", "never")), removed=(r"gone/.*",))
    assert migrated_names(stored, {"c/x": "f", "b": "f"}, rules) == {"c/x": "a/x", "b": "b"}
    # What this version still has under that name is not touched by a rule.
    assert migrated_names(stored, dict.fromkeys(stored, "f"), rules) == {n: n for n in stored}

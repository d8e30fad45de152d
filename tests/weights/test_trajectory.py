"""Six SGD steps across unfreezing, against the authors' own model: three with the backbone at rate
0 while its momentum fills and its running statistics move, three with all of it at 1e-2.

Losses, every parameter, every running statistic and every momentum buffer after steps 3 and 6: to
1e-3 of its norm, or 5 times what PyTorch's own two memory layouts differ by (golden/layouts.py,
measured once and stored), where that is larger.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import traverse_util

from gtn_jax.arrays import Batch
from gtn_jax.data.targets import batch_transform
from gtn_jax.models.gtn import GTN, variable_shapes
from gtn_jax.training.losses import gtn_loss
from gtn_jax.training.optimizer import build_optimizer, relative_schedule
from gtn_jax.training.state import create_state
from gtn_jax.training.steps import make_train_step
from gtn_jax.weights import keymaps
from gtn_jax.weights.port import port

pytestmark = [pytest.mark.slow, pytest.mark.optimized]

AUTHORS = "the authors' stored numbers"


@pytest.fixture(scope="module")
def run(rule):
    """Losses, and the states after steps 3 and 6."""
    model = GTN(
        "resnet50", 10, gate_dropout=0.0, classifier_dropout=0.0, torch_running_variance=True
    )
    drawn = rule.draw(rule.gtn_shapes(10), 0)
    variables = port(drawn, variable_shapes(model), heads="load")
    constant = relative_schedule("constant", 1, 1, 0.0, (), 0.1)
    optimizer = build_optimizer(0.9, 1e-4, constant, frozen_steps=3)
    state = create_state(variables, optimizer, 1e-2, seed=0)
    # The authors' images are normalized already; nothing is random.
    transform = batch_transform(lambda key, images, sizes: jnp.asarray(images))
    step = jax.jit(make_train_step(model, optimizer, transform, gtn_loss(0.2)))
    images, labels = rule.inputs(0, 4, 10)
    batch = Batch(images, labels.astype(np.int32), np.ones(4, np.float32))
    losses, states = [], {}
    for number in range(1, 7):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
        if number in (3, 6):
            states[number] = state
    return losses, states


def momentum(state):
    """The momentum of every parameter, in one tree: each group's state holds its own leaves."""
    merged = {}
    for group in state.opt_state.inner_states.values():
        trace = group.inner_state[1].trace
        flat = traverse_util.flatten_dict(trace)
        merged |= {path: leaf for path, leaf in flat.items() if hasattr(leaf, "shape")}
    return merged


def arrays(states) -> dict[tuple[str, tuple[str, ...]], np.ndarray]:
    """(after3, path) -> array, the same for after6, momentum3 and momentum6."""
    found = {}
    for number, state in states.items():
        for path, leaf in traverse_util.flatten_dict(state.variables).items():
            found[f"after{number}", path] = leaf
        for path, leaf in momentum(state).items():
            found[f"momentum{number}", ("params", *path)] = leaf
    return found


def test_losses(rule, run, agrees):
    expected = np.load(rule.STORED)["steps/losses"]
    difference = float(np.max(np.abs(np.array(run[0]) / expected - 1)))
    agrees("six SGD steps: losses", AUTHORS, difference, 1e-3)


def test_every_digest(rule, run, agrees):
    stored = np.load(rule.STORED)
    yardstick = np.load(rule.STORED.with_name("torch_layouts.npz"))
    found = arrays(run[1])
    keys = [key for key in stored.files if key.startswith(("after", "momentum"))]
    assert len(keys) == len(found) == 2 * (269 + 163)
    excess = {}
    for key in keys:
        moment, name = key.split("/", 1)
        array = np.asarray(found.pop((moment, keymaps.our_path(name, "gtn_authors"))))
        ours = rule.digest(keymaps.to_torch_layout(array), name, 0)
        error = rule.digest_error(ours, stored[key], array.size)
        excess[key] = error / max(1e-3, 5 * float(yardstick[key]))
    assert not found
    for moment in ("after3", "momentum3", "after6", "momentum6"):
        largest = max(value for key, value in excess.items() if key.startswith(moment))
        agrees(f"{moment}: digests, over max(1e-3, 5 layouts)", AUTHORS, largest, 1.0)

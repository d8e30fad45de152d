"""The examples in docstrings of public names, run as they stand; and shapes that are refused."""

import doctest
import inspect
import sys

import jax.numpy as jnp
import pytest
from jaxtyping import TypeCheckError

import gtn_jax
from gtn_jax.analysis.compare import compare
from gtn_jax.models.heads import pool
from gtn_jax.training.losses import gtn_loss, mean_cross_entropy
from gtn_jax.training.optimizer import build_optimizer
from gtn_jax.training.steps import make_train_step
from gtn_jax.weights.port import port

PUBLIC = [getattr(gtn_jax, name) for name in gtn_jax.__all__]
OTHERS = [make_train_step, port, compare, gtn_loss, build_optimizer]
# These train or compare; `predict` and `restore` read the run that the example of `train` leaves.
LONG = [gtn_jax.train, gtn_jax.predict, gtn_jax.restore, compare, make_train_step]


@pytest.mark.parametrize(
    "things",
    [
        [thing for thing in (*PUBLIC, *OTHERS) if thing not in LONG],
        pytest.param(LONG, marks=pytest.mark.slow),
    ],
    ids=["short", "long"],
)
def test_examples_of_docstrings(things, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for thing in things:
        thing = inspect.unwrap(thing)
        names = dict(vars(sys.modules[thing.__module__]))
        found = doctest.DocTestFinder(recurse=False).find(thing, globs=names)
        assert len(found) == 1 and found[0].examples, f"{thing} has no example"
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
        lines: list[str] = []
        runner.run(found[0], out=lines.append)
        assert runner.failures == 0, "".join(lines)


def test_a_wrong_shape_is_refused():
    logits, labels, mask = jnp.zeros((2, 3)), jnp.zeros(2, jnp.int32), jnp.ones(2)
    assert mean_cross_entropy(logits, labels, mask).shape == ()
    with pytest.raises(TypeCheckError, match="'mask'"):
        mean_cross_entropy(logits, labels, jnp.ones(3))
    with pytest.raises(TypeCheckError, match="'feature_map'"):
        pool(jnp.zeros((2, 3)))

"""`TrainState`: all that training changes, in one pytree."""

import functools
from typing import Any, TypeVar

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gtn_jax.arrays import Variables
from gtn_jax.training.optimizer import with_peak_rates

Tree = TypeVar("Tree")


class TrainState(flax.struct.PyTreeNode):
    """State in, state out.

    Attributes:
        step: int32 scalar, number of updates done.
        refused: bool scalar, whether the update after `step` was refused, see steps.py.
        params: float32 tree.
        batch_stats: float32 tree, running means and variances.
        opt_state: of the optimizer: momentum and peak rates, a part a group.
        key: typed PRNG key; never changes, a step folds its number in.
        average: float32 trees, as `current`, which count in evaluation (averaging.py); None: the
            current ones do.
    """

    step: jax.Array
    refused: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    key: jax.Array
    average: Any = None

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.params))

    @property
    def current(self) -> Variables:
        """What `model.apply` takes in training."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    @property
    def variables(self) -> Variables:
        """What `model.apply` takes in evaluation."""
        return self.current if self.average is None else self.average

    def at_rate(self, rate: jax.Array) -> "TrainState":
        """With one peak rate, float32 scalar, for both groups."""
        # Two buffers: a step donates its whole state, and none can be donated twice.
        peaks = {"backbone": rate, "head": jnp.copy(rate)}
        return self.replace(opt_state=with_peak_rates(self.opt_state, peaks))


def create_state(
    variables: Variables,
    optimizer: optax.GradientTransformationExtraArgs,
    learning_rate: float,
    seed: int,
    head_learning_rate: float | None = None,
    averages: bool = False,
) -> TrainState:
    """The state before step 0.

    Args:
        variables: of the model, pretrained weights already in.
        optimizer: of `build_optimizer`.
        learning_rate: the peak rate of the backbone.
        seed: of augmentation and dropout.
        head_learning_rate: that of gate and heads; None: the same.
        averages: whether `average` starts as a copy of the variables; False: it is None.
    """
    opt_state, key = _start(optimizer.init, variables["params"], np.uint32(seed % 2**32))
    # jnp.zeros and its like would compile a program each.
    head_rate = learning_rate if head_learning_rate is None else head_learning_rate
    step, refused, *rates = jax.device_put(
        (np.int32(0), np.bool_(False), np.float32(learning_rate), np.float32(head_rate))
    )
    return TrainState(
        step=step,
        refused=refused,
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=with_peak_rates(opt_state, {"backbone": rates[0], "head": rates[1]}),
        key=key,
        # Copies: a step donates its whole state, and no buffer can be donated twice.
        average=copied(dict(variables)) if averages else None,
    )


# One program: outside of one, every shape of momentum would be a program of its own.
@functools.partial(jax.jit, static_argnums=0)
def _start(init: optax.TransformInitFn, params: Any, seed: jax.Array) -> tuple[Any, jax.Array]:
    return init(params), jax.random.key(seed)


@jax.jit
def copied(tree: Tree) -> Tree:
    """The same in buffers of its own; a program for each structure."""
    return jax.tree.map(jnp.copy, tree)

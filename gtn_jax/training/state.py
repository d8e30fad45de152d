"""`TrainState`: all that training changes, in one pytree."""

import dataclasses
import functools
from typing import Any, TypeVar

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from gtn_jax.arrays import Variables
from gtn_jax.training.optimizer import Optimizer

Tree = TypeVar("Tree")


class TrainState(flax.struct.PyTreeNode):
    """State in, state out.

    Attributes:
        step: int32 scalar, steps done; -1 - s if the step after s was refused, see steps.py.
        params: float32 tree.
        batch_stats: float32 tree, running means and variances.
        opt_state: momentum, a part a group.
        learning_rate: float32 scalar, the backbone's peak; here, not in the program, so that one
            compiled step serves every rate.
        head_learning_rate: float32 scalar, the peak of gate and heads.
        key: typed PRNG key; never changes, a step folds its number in.
    """

    step: jax.Array
    params: Any
    batch_stats: Any
    opt_state: Any
    learning_rate: jax.Array
    head_learning_rate: jax.Array
    key: jax.Array

    @property
    def parameters(self) -> int:
        """How many numbers the model has."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.params))

    @property
    def learning_rates(self) -> dict[str, jax.Array]:
        """Group of the optimizer -> its peak."""
        return {"backbone": self.learning_rate, "head": self.head_learning_rate}

    def at_rate(self, rate: jax.Array) -> "TrainState":
        """With one peak, float32 scalar, for all groups."""
        # Two buffers: a step donates its whole state, and none can be donated twice.
        return self.replace(learning_rate=rate, head_learning_rate=jnp.copy(rate))

    @property
    def variables(self) -> Variables:
        """What `model.apply` takes in evaluation."""
        return {"params": self.params, "batch_stats": self.batch_stats}


class AveragedTrainState(TrainState):
    """A state that keeps a mean of its variables so far, which is what counts in evaluation.

    Attributes:
        average: float32 trees, as `variables`.
    """

    average: Any

    @property
    def variables(self) -> Variables:
        """The running mean."""
        return self.average

    @classmethod
    def of(cls, state: TrainState) -> "AveragedTrainState":
        """With the variables of a state as the mean, in copies: a step donates its whole state, and
        no buffer can be donated twice."""
        fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
        return cls(**fields, average=copied(state.variables))


def create_state(
    variables: Variables,
    optimizer: Optimizer,
    learning_rate: float,
    seed: int,
    head_learning_rate: float | None = None,
) -> TrainState:
    """The state before step 0.

    Args:
        variables: of the model, pretrained weights already in.
        optimizer: its direction starts with momentum 0; one that averages gets an
            `AveragedTrainState`.
        learning_rate: the peak rate of the backbone.
        seed: of augmentation and dropout.
        head_learning_rate: that of gate and heads; None: the same.
    """
    opt_state, key = _start(optimizer.direction.init, variables["params"], np.uint32(seed % 2**32))
    # jnp.zeros and its like would compile a program each.
    head_rate = learning_rate if head_learning_rate is None else head_learning_rate
    step, *rates = jax.device_put((np.int32(0), np.float32(learning_rate), np.float32(head_rate)))
    state = TrainState(
        step=step,
        params=variables["params"],
        batch_stats=variables["batch_stats"],
        opt_state=opt_state,
        learning_rate=rates[0],
        head_learning_rate=rates[1],
        key=key,
    )
    return AveragedTrainState.of(state) if optimizer.averages else state


# One program: outside of one, every shape of momentum would be a program of its own.
@functools.partial(jax.jit, static_argnums=0)
def _start(init: optax.TransformInitFn, params: Any, seed: jax.Array) -> tuple[Any, jax.Array]:
    return init(params), jax.random.key(seed)


@jax.jit
def copied(tree: Tree) -> Tree:
    """The same in buffers of its own; a program for each structure."""
    return jax.tree.map(jnp.copy, tree)

"""`TrainState`: everything that a training step changes, in one pytree."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Bool, Float, Int, Key

from gtn_jax.arrays import Variables
from gtn_jax.training.optimizer import with_peak_rates

Tree = TypeVar("Tree")


class TrainState(flax.struct.PyTreeNode):
    """State of training.

    Attributes:
        step: number of updates done, int32.
        refused: whether the update after `step` was refused, see steps.py.
        params: float32 tree.
        batch_stats: float32 tree of running means and variances.
        opt_state: of `build_optimizer`: momentum and rates per group.
        key: constant; a step folds its number in.
        average: averaged variables for evaluation (averaging.py); None: the current ones.
    """

    step: Int[jax.Array, ""]
    refused: Bool[jax.Array, ""]
    params: Any
    batch_stats: Any
    opt_state: Any
    key: Key[jax.Array, ""]
    average: Any = None

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(leaf.size for leaf in jax.tree.leaves(self.params))

    @property
    def current(self) -> Variables:
        """Variables of training."""
        return {"params": self.params, "batch_stats": self.batch_stats}

    @property
    def variables(self) -> Variables:
        """Variables of evaluation."""
        return self.current if self.average is None else self.average

    def at_rate(self, rate: Float[jax.Array, ""]) -> "TrainState":
        """The state with one peak learning rate for both groups."""
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
        variables: of the model, including pretrained weights.
        optimizer: from `build_optimizer`.
        learning_rate: peak rate of the backbone.
        seed: of augmentation and dropout.
        head_learning_rate: peak rate of gate and classifiers; None: `learning_rate`.
        averages: whether `average` starts as a copy of the variables; otherwise it is None.
    """
    opt_state, key = _start(optimizer.init, variables["params"], np.uint32(seed % 2**32))
    # jnp.zeros etc. would compile a program each.
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


# Without jit, every shape of momentum would compile a program.
@functools.partial(jax.jit, static_argnums=0)
def _start(init: Callable[[Any], Any], params: Any, seed: jax.Array) -> tuple[Any, jax.Array]:
    return init(params), jax.random.key(seed)


@jax.jit
def copied(tree: Tree) -> Tree:
    """A copy in new buffers, by one program for each tree structure."""
    return jax.tree.map(jnp.copy, tree)

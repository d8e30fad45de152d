"""PyTorch's SGD with momentum, and AdamW, as one optax transformation.

A pattern of its path puts every parameter in a group, or freezes it. The peak learning rate of a
group is in the optimizer's state, so one compiled step serves all rates. At a rate of 0 momentum
still accumulates, as in the authors' code (https://github.com/jiaxue-ai/GTN, main.py,
adjust_learning_rate).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

Patterns = Sequence[tuple[str, str | None]]
"""(regular expression of a whole path, e.g. "backbone/layer1/0/conv1/kernel"; group, or None to
freeze). The first match wins."""
BACKBONE = "backbone/.*"
GROUPS: Patterns = ((BACKBONE, "backbone"), ("(gate|classifier|aux_classifier)/.*", "head"))
_FROZEN = "frozen"


def parameter_groups(
    trainable: Literal["all", "batch_norm"] = "all", frozen_stages: int = 0
) -> Patterns:
    """`GROUPS` with parts of the backbone frozen.

    Args:
        trainable: "batch_norm" freezes all of the backbone except scales and biases of BatchNorm
            (modules whose names begin with bn).
        frozen_stages: number of first stages to freeze together with the stem; 0 freezes neither.
    """
    frozen = []
    if trainable == "batch_norm":
        frozen.append((r"backbone/(?!(.*/)?bn).*", None))
    if frozen_stages:
        stages = "|".join(map(str, range(1, frozen_stages + 1)))
        frozen.append((rf"backbone/((?!layer)[^/]+|layer({stages}))/.*", None))
    return (*frozen, *GROUPS)


def label_parameters(params: Any, groups: Patterns = GROUPS) -> Any:
    """A tree like `params` with the group of each leaf, "frozen" where that is None.

    Raises:
        ValueError: a parameter that no pattern matches.
    """

    def label(path: Any, leaf: Any) -> str:
        del leaf
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        for pattern, group in groups:
            if re.fullmatch(pattern, name):
                return group or _FROZEN
        raise ValueError(f"parameter {name} matches none of {[pattern for pattern, _ in groups]}")

    return jax.tree_util.tree_map_with_path(label, params)


def matches(params: Any, patterns: Sequence[str]) -> Any:
    """A tree like `params` of bools: whether the path of each leaf matches one of the patterns."""
    groups = (*((pattern, None) for pattern in patterns), (".*", "other"))
    return jax.tree.map(lambda label: label == _FROZEN, label_parameters(params, groups))


def count_trainable(params: Any, groups: Patterns, frozen: Sequence[str] = ()) -> int:
    """Number of parameters that `groups` do not freeze and that no pattern in `frozen` matches."""
    groups = (*((pattern, None) for pattern in frozen), *groups)
    labels = jax.tree.leaves(label_parameters(params, groups))
    leaves = zip(jax.tree.leaves(params), labels, strict=True)
    return sum(leaf.size for leaf, label in leaves if label != _FROZEN)


class RateState(NamedTuple):
    """Learning rates of a group: the peak, which the schedule scales, and the last one."""

    peak: Float[jax.Array, ""]
    current: Float[jax.Array, ""]


def scale_by_rate(schedule: optax.Schedule) -> optax.GradientTransformationExtraArgs:
    """Multiply by -peak schedule(step), with the peak in the state and the step an extra argument.

    `optax.scale_by_schedule` counts its own updates, so a group that is frozen for some epochs
    would fall behind the schedule of the run.
    """

    def init(params: Any) -> RateState:
        del params
        # NumPy, because jnp would compile a program for each outside of jit.
        return RateState(np.float32(1.0), np.float32(0.0))  # pyright: ignore[reportArgumentType]

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, RateState]:
        del params
        # optax's cosine schedule divides the step, which needs a float.
        rate = state.peak * schedule(jnp.asarray(extra["step"]).astype(jnp.float32))
        return jax.tree.map(lambda update: -rate * update, updates), RateState(state.peak, rate)

    return optax.GradientTransformationExtraArgs(init, update)


def with_peak_rates(opt_state: Any, peaks: Mapping[str, Any]) -> Any:
    """A state of `build_optimizer` with the peak rates `peaks`, group -> float32 scalar."""

    def replace(path: Any, found: Any) -> Any:
        group = _group_of(path)
        is_rate = isinstance(found, RateState) and group in peaks
        return found._replace(peak=peaks[group]) if is_rate else found

    return jax.tree_util.tree_map_with_path(
        replace, opt_state, is_leaf=lambda node: isinstance(node, RateState)
    )


def current_rates(opt_state: Any) -> dict[str, Float[jax.Array, ""]]:
    """Group -> rate of the last update."""
    found, _ = jax.tree_util.tree_flatten_with_path(
        opt_state, is_leaf=lambda node: isinstance(node, RateState)
    )
    return {_group_of(path): node.current for path, node in found if isinstance(node, RateState)}


def _group_of(path: Any) -> str:
    """The group whose state a path leads into."""
    names = [name for _, name in GROUPS]
    return next((key.key for key in path if getattr(key, "key", None) in names), "")


def build_optimizer(
    momentum: float,
    weight_decay: float,
    schedule: optax.Schedule,
    frozen_steps: int = 0,
    l2_sp: float = 0.0,
    name: Literal["sgd", "adamw"] = "sgd",
    decays_all: bool = True,
    groups: Patterns = GROUPS,
) -> optax.GradientTransformationExtraArgs:
    """Build the optimizer of the groups `backbone` and `head`.

    SGD:   v <- m v + (g + decay w)                         w <- w - rate v
    AdamW: a <- Adam's direction of g (m, 0.999, 1e-8)      w <- w - rate (a + decay w)

    `update` takes two more keyword arguments: `step`, int32 scalar, the number of previous updates;
    and `frozen`, a tree of Python bools like the parameters, True for those without a gradient in
    this step. A group that is frozen as a whole keeps its state and gets zero updates.

    Args:
        momentum: m.
        weight_decay: decay.
        schedule: step -> rate relative to the peaks, which `with_peak_rates` sets.
        frozen_steps: number of first steps in which the rate of `backbone` is 0.
        l2_sp: strength with which the backbone decays towards its start (`pull_to_start`); 0: it
            decays towards 0.
        name: SGD (Sutskever et al., ICML 2013) or AdamW (Loshchilov and Hutter, arXiv 1711.05101).
        decays_all: whether biases and BatchNorms decay too, or kernels only.
        groups: from `parameter_groups`.

    Example:
        >>> tx = build_optimizer(0.9, 1e-4, optax.constant_schedule(1.0))
        >>> params = {"classifier": {"kernel": jnp.ones((3, 2))}}
        >>> state = with_peak_rates(tx.init(params), {"head": jnp.float32(0.1)})
        >>> updates, state = tx.update(params, state, params, step=jnp.int32(0))
        >>> float(updates["classifier"]["kernel"][0, 0])  # -0.1 (1 + 1e-4)
        -0.10001000016927719
    """

    def backbone_schedule(step: Any) -> jax.Array:
        return jnp.where(step < frozen_steps, 0.0, schedule(step))

    def group(decay: Any, schedule: optax.Schedule) -> optax.GradientTransformationExtraArgs:
        if not decays_all:
            decay = optax.masked(decay, _are_kernels)
        parts = (_adam(momentum), decay) if name == "adamw" else (decay, optax.trace(momentum))
        return optax.chain(*parts, scale_by_rate(schedule))

    plain = optax.add_decayed_weights(weight_decay)
    transforms: dict[Any, optax.GradientTransformation] = {
        "backbone": group(pull_to_start(l2_sp) if l2_sp else plain, backbone_schedule),
        "head": group(plain, schedule),
    }
    if any(label is None for _, label in groups):
        transforms[_FROZEN] = optax.set_to_zero()

    def labels(params: Any) -> Any:
        return label_parameters(params, groups)

    by_group = optax.partition(transforms, labels)

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, Any]:
        new: Any
        updates, new = by_group.update(updates, state, params, step=extra["step"])
        frozen = extra.get("frozen")
        if frozen is None:
            return updates, new
        moving = {
            label
            for label, is_frozen in zip(
                jax.tree.leaves(labels(params)), jax.tree.leaves(frozen), strict=True
            )
            if not is_frozen
        }
        inner = {
            name: own if name in moving else state.inner_states[name]
            for name, own in new.inner_states.items()
        }
        updates = jax.tree.map(
            lambda leaf, is_frozen: jnp.zeros_like(leaf) if is_frozen else leaf, updates, frozen
        )
        return updates, new._replace(inner_states=inner)

    return optax.GradientTransformationExtraArgs(by_group.init, update)


def pull_to_start(strength: float) -> optax.GradientTransformation:
    """Add strength (w - w at the start) to the updates; the state holds a copy of the start.

    The gradient of the L2-SP penalty (Li et al., "Explicit Inductive Bias for Transfer Learning
    with Convolutional Networks", arXiv 1802.01483).
    """

    def init(params: Any) -> Any:
        # Copies: a step donates its whole state, and no buffer can be donated twice.
        return jax.tree.map(jnp.copy, params)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        pulled = jax.tree.map(lambda g, w, s: g + strength * (w - s), updates, params, state)
        return pulled, state

    return optax.GradientTransformation(init, update)


def _are_kernels(params: Any) -> Any:
    """A tree like `params` of bools: matrices and convolutions, not biases and scales."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _adam(momentum: float) -> optax.GradientTransformation:
    """Adam's direction, also under strict dtype promotion: optax raises a float to an int power."""
    adam = optax.scale_by_adam(momentum)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        with jax.numpy_dtype_promotion("standard"):
            return adam.update(updates, state, params)

    return optax.GradientTransformation(adam.init, update)


def relative_schedule(
    kind: Literal["step", "cosine", "constant"],
    steps_per_epoch: int,
    epochs: int,
    warmup_epochs: float,
    boundaries_epochs: tuple[int, ...],
    decay_factor: float,
    warmup_share: float = 0.0,
    full_rate_steps: int = 0,
    steps: int | None = None,
) -> optax.Schedule:
    """Build a schedule of rates relative to the peak, in [0, 1].

    Args:
        kind: "step" multiplies by `decay_factor` at each boundary; "cosine" rises linearly for
            `warmup_epochs` and falls to 0 at the end; "constant" is 1.
        steps_per_epoch: number of updates.
        epochs: length of the run.
        warmup_epochs: cosine only.
        boundaries_epochs: step only; epochs counted from 0.
        decay_factor: step only.
        warmup_share: of all steps, if `warmup_epochs` is 0.
        full_rate_steps: cosine only; a run of T < full_rate_steps steps rises to
            sqrt(T / full_rate_steps).
        steps: length of the run instead of `epochs`.
    """
    if kind == "constant":
        return optax.constant_schedule(1.0)
    if kind == "step":
        factors = {epoch * steps_per_epoch: decay_factor for epoch in boundaries_epochs}
        return optax.piecewise_constant_schedule(1.0, factors)
    total = epochs * steps_per_epoch if steps is None else steps
    warmup_steps = round(warmup_epochs * steps_per_epoch or warmup_share * total)
    peak = min(1.0, total / full_rate_steps) ** 0.5 if full_rate_steps else 1.0
    start = 0.0 if warmup_steps else peak
    return optax.warmup_cosine_decay_schedule(
        start, peak, warmup_steps, max(total, warmup_steps + 1)
    )

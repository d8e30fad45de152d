"""SGD with momentum as PyTorch does it, and AdamW, as one optax transformation.

Every parameter belongs to a group by a pattern of its path, or is frozen. The peak rate of a group
is in the optimizer's state: one compiled step serves all peak rates, and a rate of 0 still lets
momentum fill, as in the authors' code (https://github.com/jiaxue-ai/GTN, main.py,
adjust_learning_rate).
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

Patterns = Sequence[tuple[str, str | None]]
"""(regular expression of a whole path, as "backbone/layer1/0/conv1/kernel"; group, or None, which
freezes). The first that matches counts."""
HEADS = "(gate|classifier|aux_classifier)/.*"
GROUPS: Patterns = (("backbone/.*", "backbone"), (HEADS, "head"))
_FROZEN = "frozen"


def parameter_groups(
    trainable: Literal["all", "batch_norm"] = "all", frozen_stages: int = 0
) -> Patterns:
    """`GROUPS` with parts of the backbone frozen.

    Args:
        trainable: "batch_norm" freezes the backbone but for scales and biases of BatchNorm (modules
            whose names begin with bn).
        frozen_stages: freezes the stem and so many first stages; 0: neither.
    """
    frozen = []
    if trainable == "batch_norm":
        frozen.append((r"backbone/(?!(.*/)?bn).*", None))
    if frozen_stages:
        stages = "|".join(map(str, range(1, frozen_stages + 1)))
        frozen.append((rf"backbone/((?!layer)[^/]+|layer({stages}))/.*", None))
    return (*frozen, *GROUPS)


def label_parameters(params: Any, groups: Patterns = GROUPS) -> Any:
    """A tree like `params` that holds each leaf's group, "frozen" where that is None.

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
    """A tree like `params`: whether the path of each leaf matches one of the patterns."""
    groups = (*((pattern, None) for pattern in patterns), (".*", "other"))
    return jax.tree.map(lambda label: label == _FROZEN, label_parameters(params, groups))


def count_trainable(params: Any, groups: Patterns, frozen: Sequence[str] = ()) -> int:
    """Number of parameters that a run changes.

    Args:
        params: all of them.
        groups: of the optimizer.
        frozen: patterns of what has no gradient in any step.
    """
    groups = (*((pattern, None) for pattern in frozen), *groups)
    labels = jax.tree.leaves(label_parameters(params, groups))
    leaves = zip(jax.tree.leaves(params), labels, strict=True)
    return sum(leaf.size for leaf, label in leaves if label != _FROZEN)


class RateState(NamedTuple):
    """Learning rates of a group; float32 scalars.

    Attributes:
        peak: what the schedule is relative to.
        current: the rate of the last update.
    """

    peak: jax.Array
    current: jax.Array


def scale_by_rate(schedule: optax.Schedule) -> optax.GradientTransformationExtraArgs:
    """Multiply by -peak schedule(step), with the peak in the state and the step an extra argument.

    `optax.scale_by_schedule` counts updates of its own: the count of a group that is frozen for
    some epochs would stand still, while the schedule is that of the run.
    """

    def init(params: Any) -> RateState:
        del params
        # Not jnp: outside of jit that would compile a program for each.
        return RateState(np.float32(1.0), np.float32(0.0))  # pyright: ignore[reportArgumentType]

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, RateState]:
        del params
        # As a float, since optax's cosine divides it.
        rate = state.peak * schedule(jnp.asarray(extra["step"]).astype(jnp.float32))
        return jax.tree.map(lambda update: -rate * update, updates), RateState(state.peak, rate)

    return optax.GradientTransformationExtraArgs(init, update)


def with_peak_rates(opt_state: Any, peaks: Mapping[str, Any]) -> Any:
    """The state of an optimizer with other peak rates.

    Args:
        opt_state: of an optimizer of `build_optimizer`.
        peaks: group -> float32 scalar.
    """

    def replace(path: Any, found: Any) -> Any:
        group = _group_of(path)
        is_rate = isinstance(found, RateState) and group in peaks
        return found._replace(peak=peaks[group]) if is_rate else found

    return jax.tree_util.tree_map_with_path(
        replace, opt_state, is_leaf=lambda node: isinstance(node, RateState)
    )


def current_rates(opt_state: Any) -> dict[str, jax.Array]:
    """Group -> its rate in the last update."""
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
    """Two groups: `backbone`, with rate 0 for the first `frozen_steps`, and `head`.

    SGD:   v <- m v + (g + decay w)                         w <- w - rate v
    AdamW: a <- Adam's direction of g (m, 0.999, 1e-8)      w <- w - rate (a + decay w)

    `update` takes two arguments more, by name: `step`, int32 scalar, updates done before; and
    `frozen`, a tree of Python bools like the parameters: True for those without a gradient in this
    step. A group all of which is frozen keeps its state and gets updates of 0.

    Args:
        momentum: m.
        weight_decay: decay.
        schedule: step -> rate relative to the peaks, which `with_peak_rates` sets.
        frozen_steps: see above.
        l2_sp: above 0 the backbone decays towards its start with this strength (`pull_to_start`),
            and not towards 0.
        name: SGD (Sutskever et al., ICML 2013) or AdamW (Loshchilov and Hutter, arXiv 1711.05101).
        decays_all: False: kernels decay, biases and BatchNorms do not.
        groups: which parameters are in which group, and which are never updated.

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

    L2-SP (Li et al., "Explicit Inductive Bias for Transfer Learning with Convolutional Networks",
    arXiv 1802.01483): the gradient of strength / 2 times the squared distance.
    """

    def init(params: Any) -> Any:
        # Copies: a step donates its whole state, and no buffer can be donated twice.
        return jax.tree.map(jnp.copy, params)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        pulled = jax.tree.map(lambda g, w, s: g + strength * (w - s), updates, params, state)
        return pulled, state

    return optax.GradientTransformation(init, update)


def _are_kernels(params: Any) -> Any:
    """A tree like `params`: whether each is a matrix or a convolution, and no bias or scale."""
    return jax.tree.map(lambda leaf: leaf.ndim > 1, params)


def _adam(momentum: float) -> optax.GradientTransformation:
    """Adam's direction, also where JAX promotes strictly: optax takes a float to an int power."""
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
    """step -> rate relative to the peak, in [0, 1].

    Args:
        kind: "step" multiplies by `decay_factor` at each boundary; "cosine" rises linearly for
            `warmup_epochs` and falls to 0 at the end; "constant" is 1.
        steps_per_epoch: turns epochs into steps.
        epochs: of the whole run.
        warmup_epochs: cosine only.
        boundaries_epochs: step only; epochs counted from 0.
        decay_factor: step only.
        warmup_share: of all steps, in the place of `warmup_epochs`.
        full_rate_steps: cosine only; a run of T < full_rate_steps steps rises to
            sqrt(T / full_rate_steps) only.
        steps: of the whole run; None: as many as `epochs` has.
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

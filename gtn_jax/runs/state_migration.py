"""Arrays that an earlier version saved -> the training state of this one.

A checkpoint names its arrays by their paths in the state (`manifest.json`), and says nothing of the
classes that held them. So a state whose layout has changed loads by names: whoever moves, adds or
drops a part of the state, of the optimizer's for instance, adds a rule below. Configs have rules of
their own (migration.py).
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gtn_jax.devices import put


class StateMigrations(NamedTuple):
    """What has changed since the first version; names as `describe` gives them.

    Attributes:
        renamed: regular expressions of whole old names -> the new name, as `re.sub` takes it; the
            first that matches counts.
        removed: regular expressions of whole old names of arrays that nothing needs any more.
        added: new name -> the number that a scalar of it has in an older run; None: the template's,
            which a config decides, or 0 where that has only shapes.
    """

    renamed: tuple[tuple[str, str], ...] = ()
    removed: tuple[str, ...] = ()
    added: Mapping[str, int | float | bool | None] = {}


_RATES = "opt_state/inner_states/{}/inner_state/2/{}"
MIGRATIONS = StateMigrations(
    renamed=(
        ("learning_rate", _RATES.format("backbone", "peak")),
        ("head_learning_rate", _RATES.format("head", "peak")),
    ),
    added={
        "refused": False,
        **{_RATES.format(group, "peak"): None for group in ("backbone", "head")},
        **{_RATES.format(group, "current"): 0.0 for group in ("backbone", "head")},
    },
)
"""Of this version."""


def migrated_names(
    stored: Mapping[str, str], wanted: Mapping[str, str], migrations: StateMigrations
) -> dict[str, str]:
    """Names of this version -> the stored arrays that belong there.

    Args:
        stored: name -> dtype and shape, see `describe`, as an earlier version wrote them.
        wanted: the same, of this version. Stored names that are in it are left alone.
        migrations: what has changed since.
    """
    names = {}
    for old in stored:
        new = old
        if old not in wanted:
            if any(re.fullmatch(pattern, old) for pattern in migrations.removed):
                continue
            for pattern, replacement in migrations.renamed:
                if re.fullmatch(pattern, old):
                    new = re.sub(pattern, replacement, old)
                    break
        names[new] = old
    return names


def fill(
    template: Any,
    arrays: Mapping[str, jax.Array],
    names: Mapping[str, str],
    migrations: StateMigrations,
) -> Any:
    """A state like `template` from stored arrays.

    Args:
        template: of arrays or `jax.ShapeDtypeStruct`, with the shardings of the result.
        arrays: stored name -> array.
        names: of `migrated_names`.
        migrations: the same as there; `added` fills what has no stored array.
    """
    leaves, structure = jax.tree.flatten(template)
    filled = []
    for name, like in zip(describe(template), leaves, strict=True):
        if name in names:
            leaf = arrays[names[name]]
        elif (number := migrations.added[name]) is None and isinstance(like, jax.Array):
            leaf = like
        else:
            leaf = jnp.full(like.shape, number or 0, like.dtype)
        filled.append(put(leaf, like.sharding))
    return jax.tree.unflatten(structure, filled)


def describe(state: Any) -> dict[str, str]:
    """Name of every array -> dtype and shape: `{"params/fc/kernel": "float32 16x10", ...}`.

    Args:
        state: of arrays, or of `jax.ShapeDtypeStruct` in their place.
    """
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): " ".join(
            [str(leaf.dtype), *(["x".join(map(str, leaf.shape))] if leaf.shape else [])]
        )
        for path, leaf in leaves
    }


def difference(old: dict[str, str], new: dict[str, str]) -> str:
    """Up to three arrays that differ between two results of `describe`; empty if none does."""
    names = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    more = f"; and {len(names) - 3} more" if len(names) > 3 else ""
    none = "nothing"
    return "; ".join(f"{n}: {old.get(n, none)} -> {new.get(n, none)}" for n in names[:3]) + more

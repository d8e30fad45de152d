"""Load training states of earlier versions: arrays by name -> the current state.

A checkpoint stores its arrays by their paths in the state (`manifest.json`). Whoever moves, adds or
removes a part of the state, for instance of the optimizer's, adds a rule below. Configs have their
own rules (config/migration.py).
"""

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gtn_jax.devices import put


class StateMigrations(NamedTuple):
    """Changes since the first version, by array names as in `describe`.

    Attributes:
        renamed: (regular expression of a whole old name, replacement as in `re.sub`); the first
            match counts.
        removed: regular expressions of arrays no longer needed.
        added: new name -> value of this scalar in older runs; None: the template's value (set by a
            config), or 0 for an abstract template.
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


def migrated_names(
    stored: Mapping[str, str], current: Mapping[str, str], migrations: StateMigrations
) -> dict[str, str]:
    """Current names -> names of the stored arrays.

    Args:
        stored: from `describe`, as an earlier version wrote it.
        current: from `describe`, in this version; stored names in it are not migrated.
        migrations: the changes since.
    """
    names = {}
    for old in stored:
        new = old
        if old not in current:
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
    """A state like `template` with stored arrays.

    Args:
        template: arrays or `jax.ShapeDtypeStruct`, with the shardings of the result.
        arrays: stored name -> array.
        names: from `migrated_names`.
        migrations: `added` gives the values of arrays that are not stored.
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
    """Names of all arrays (or `jax.ShapeDtypeStruct`) -> dtype and shape: `{"params/fc/kernel":
    "float32 16x10", ...}`."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(state)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): " ".join(
            [str(leaf.dtype), *(["x".join(map(str, leaf.shape))] if leaf.shape else [])]
        )
        for path, leaf in leaves
    }


def difference(old: dict[str, str], new: dict[str, str]) -> str:
    """Up to three arrays that differ between two results of `describe`; empty if none do."""
    names = [name for name in sorted(old.keys() | new.keys()) if old.get(name) != new.get(name)]
    more = f"; and {len(names) - 3} more" if len(names) > 3 else ""
    none = "nothing"
    return "; ".join(f"{n}: {old.get(n, none)} -> {new.get(n, none)}" for n in names[:3]) + more

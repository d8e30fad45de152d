"""Configs of earlier versions -> the fields of this one; old runs keep their meaning.

Configs on disk carry no version; their field names identify it. Every added, renamed or removed
field needs an entry below (`tests/config/test_migration.py`). Current defaults are not used. The
first version is the one in `tests/compatibility`.
"""

import reprlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from gtn_jax.errors import unknown_name


class Removed(NamedTuple):
    """A field that no longer exists.

    Attributes:
        neutral: the JSON value that had no effect; configs with another one are refused.
        meaning: what it was, for the error.
        advice: why other values are refused, and what to use instead.
    """

    neutral: Any
    meaning: str
    advice: str


class Migrations(NamedTuple):
    """Changes since the first version, by dotted field name.

    Attributes:
        added: field -> the JSON value that reproduces runs from before the field existed.
        renamed: old name -> new name.
        removed: old name -> which of its values still load.
        replaced: old name -> (new name, function of the old value and all fields to the new value).
    """

    added: Mapping[str, Any]
    renamed: Mapping[str, str]
    removed: Mapping[str, Removed]
    replaced: Mapping[str, tuple[str, Callable[[Any, Mapping[str, Any]], Any]]] = {}


def _head_rate(multiplier: float, fields: Mapping[str, Any]) -> float | None:
    return None if multiplier == 1 else multiplier * fields["optimizer.learning_rate"]


_PRUNED = (
    "this version has no such field and does not read pruned runs; use the unpruned run, or the "
    "version of gtn_jax that wrote this one"
)

MIGRATIONS = Migrations(
    added={
        "data.crop_min_area": 0.08,
        "data.center_crop": True,
        "data.mirror_evaluation": False,
        "model.load_heads": False,
        "optimizer.name": "sgd",
        "optimizer.head_learning_rate": None,
        "optimizer.decayed": "auto",
        "optimizer.warmup_share": 0.0,
        "optimizer.full_rate_steps": 0,
        "optimizer.l2_sp": 0.0,
        "training.steps": None,
        "training.head_start": "random",
        "training.frozen_stages": 0,
        "training.start_share": 0.0,
        "training.batch_norm": "batch",
        "training.eval_every_steps": None,
        "training.trainable": "all",
        "training.label_smoothing": 0.0,
        "training.mixup_alpha": 0.0,
        "training.ema_decay": 0.0,
        "training.early_stopping_patience": 0,
        "training.watch_test": False,
    },
    renamed={
        "data.cache_views": "data.feature_cache_views",
        "data.clip_eval": "data.video_eval",
        "training.patience_evaluations": "training.early_stopping_patience",
        "training.rematerialise": "training.remat",
    },
    removed={
        "model.gate_hidden_units": Removed(None, "hidden units of the gate", _PRUNED),
        "model.gate_bias": Removed(False, "bias of the gate's first layer", _PRUNED),
        "model.kept_channels": Removed([], "channels kept of the backbone", _PRUNED),
    },
    replaced={
        "optimizer.head_lr_multiplier": ("optimizer.head_learning_rate", _head_rate),
        "model.weights_heads": ("model.load_heads", lambda value, fields: value == "load"),
    },
)


def migrate(
    fields: Mapping[str, Any], known: list[str], migrations: Migrations = MIGRATIONS
) -> dict[str, Any]:
    """Convert the fields of any earlier version to those of this version.

    Args:
        fields: dotted name -> JSON value, as the earlier version wrote them.
        known: the fields of this version.

    Returns:
        A value for each of `known`.

    Raises:
        ValueError: a removed field that had an effect, an unknown field, a missing one, or an old
            name beside its new one.

    Example:
        >>> gone = Removed(False, "a switch", "leave it off")
        >>> changes = Migrations(added={"b": 0}, renamed={"old": "a"}, removed={"gone": gone})
        >>> migrate({"old": 1, "gone": False}, ["a", "b"], changes)
        {'b': 0, 'a': 1}
    """
    migrated = {name: value for name, value in migrations.added.items() if name in known}
    given: set[str] = set()
    for old, value in fields.items():
        if old in migrations.removed:
            neutral, meaning, advice = migrations.removed[old]
            if value != neutral:
                raise ValueError(f"{old} ({meaning}) is {reprlib.repr(value)}; {advice}")
            continue
        if old in migrations.replaced:
            old, new_value = migrations.replaced[old]
            value = new_value(value, fields)
        name = migrations.renamed.get(old, old)
        if name not in known:
            raise unknown_name("field", old, known)
        if name in given:
            raise ValueError(f"{name} and its old name are both there; remove one")
        given.add(name)
        migrated[name] = value
    missing = [name for name in known if name not in migrated]
    if missing:
        raise ValueError(f"{missing[0]} is missing; put the file back from a copy")
    return migrated

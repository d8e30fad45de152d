"""Configs as JSON, and differences between two of them."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from gtn_jax.config import Config, field_names, override
from gtn_jax.config.migration import migrate


def to_tree(config: Config) -> dict[str, Any]:
    """A dict per section, with lists for tuples, as read back from JSON."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def flatten(config: Config) -> dict[str, Any]:
    """Dotted name -> JSON value, e.g. `data.name`."""
    return _flat(to_tree(config))


def differences(old: Config, new: Config) -> list[str]:
    """One line per field that differs: `data.batch_size: 64 -> 32`."""
    before, after = flatten(old), flatten(new)
    return [f"{k}: {before[k]!r} -> {after[k]!r}" for k in after if before[k] != after[k]]


def to_json(config: Config) -> str:
    """The config as indented JSON."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(path: Path) -> Config:
    """Read a config that `to_json` wrote; ValueError if invalid or of another version."""
    return from_bytes(path.read_bytes(), str(path))


def from_bytes(content: bytes, where: str) -> Config:
    """`from_json` of bytes; `where` names their source in errors."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not a config of this version: {error}") from error
    return from_tree(tree, where)


def from_tree(tree: Any, where: str) -> Config:
    """`from_json` of the result of `to_tree`; `where` names its source in errors."""
    try:
        values = migrate(_flat(tree), field_names())
        return override(Config(), {name: _tuple(value) for name, value in values.items()})
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{where} is not a config of this version: {error}") from error


def _flat(tree: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            flat.update({f"{name}.{field}": leaf for field, leaf in value.items()})
        else:
            flat[name] = value
    return flat


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value

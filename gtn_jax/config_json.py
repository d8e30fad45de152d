"""Configs as JSON: what a run folder stores, and what differs between two."""

import dataclasses
import json
from pathlib import Path
from typing import Any, get_type_hints

from gtn_jax.config import Config


def to_tree(config: Config) -> dict[str, Any]:
    """A dict a section, tuples as lists, as JSON would give them back."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def flatten(config: Config) -> dict[str, Any]:
    """`{"data.name": ..., ..., "seed": ...}`, as `to_tree`."""
    flat = {}
    for name, value in to_tree(config).items():
        if isinstance(value, dict):
            flat.update({f"{name}.{field}": leaf for field, leaf in value.items()})
        else:
            flat[name] = value
    return flat


def differences(old: Config, new: Config) -> list[str]:
    """One line a field that differs: `data.batch_size: 64 -> 32`."""
    before, after = flatten(old), flatten(new)
    return [f"{k}: {before[k]!r} -> {after[k]!r}" for k in after if before[k] != after[k]]


def to_json(config: Config) -> str:
    """The resolved config, indented, with a newline at the end."""
    return json.dumps(dataclasses.asdict(config), indent=2) + "\n"


def from_json(path: Path) -> Config:
    """The config that `to_json` wrote.

    Raises:
        ValueError: not such a file, or fields of another version of this package.
    """
    return from_bytes(path.read_bytes(), str(path))


def from_bytes(content: bytes, where: str) -> Config:
    """As `from_json`, of what was read already; `where` it stands, for the error."""
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{where} is not a config of this version: {error}") from error
    return from_tree(tree, where)


def from_tree(tree: Any, where: str) -> Config:
    """The config that `to_tree` made.

    Args:
        tree: of dicts.
        where: what to call the place it stands in, for the error.

    Raises:
        ValueError: not such a tree, or fields of another version of this package.
    """
    try:
        sections = get_type_hints(Config)
        values = {
            name: sections[name](**_tuples(value)) if isinstance(value, dict) else value
            for name, value in tree.items()
        }
        return Config(**values)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"{where} is not a config of this version: {error}") from error


def _tuples(section: dict[str, Any]) -> dict[str, Any]:
    return {k: tuple(v) if isinstance(v, list) else v for k, v in section.items()}

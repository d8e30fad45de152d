"""Validation of config fields: their types, which dataclasses do not check, and minimum values."""

import numbers
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


def require(condition: bool, field: str, value: Any, expected: str) -> None:
    """Raise ValueError unless `condition`: field name, value found, and valid values in words."""
    if not condition:
        raise ValueError(f"{field}: invalid value {value!r}; expected {expected}")


def require_least(section: Any, name: str, least: int, *fields: str) -> None:
    """Check the minimum of some fields of the section `name`; raises like `require`."""
    for field in fields:
        value = getattr(section, field)
        require(value >= least, f"{name}.{field}", value, f"at least {least}")


def require_kinds(section: Any, name: str = "") -> None:
    """Check the types of all fields; `name` is the section's, with a dot. Raises like `require`."""
    for field, kind in get_type_hints(type(section)).items():
        value = getattr(section, field)
        require(is_of(kind, value), f"{name}{field}", value, describe_kind(kind))


def is_of(kind: Any, value: Any) -> bool:
    """Whether `value` fits `kind`: a class, a union, a `Literal`, or a tuple of one kind.

    An integer is also a float, a bool is not a number, and NumPy numbers are numbers.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in inner
    if origin in (Union, types.UnionType):
        return any(is_of(one, value) for one in inner)
    if origin is tuple:
        return isinstance(value, tuple) and all(is_of(inner[0], one) for one in value)
    if kind in (int, float):
        abstract = numbers.Integral if kind is int else numbers.Real
        return isinstance(value, abstract) and not isinstance(value, bool)
    return isinstance(value, kind)


def describe_kind(kind: Any) -> str:
    """A kind in words, for errors: "a whole number, or None"."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(inner)
    if origin in (Union, types.UnionType):
        return ", or ".join(describe_kind(one) for one in inner)
    if origin is tuple:
        return f"a row of {describe_kind(inner[0])}"
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return names.get(kind, "None" if kind is type(None) else kind.__name__)

"""Whether a value is what an annotation of a config's field says.

Dataclasses do not look; JSON and experiment files can hold anything.
"""

import numbers
import types
from typing import Any, Literal, Union, get_args, get_origin


def is_of(kind: Any, value: Any) -> bool:
    """Whether `value` fits `kind`: a plain class, a union, a `Literal` or a tuple of one kind.

    A whole number is a float too, True is no number, and NumPy's numbers are numbers.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return value in inner
    if origin in (Union, types.UnionType):
        return any(is_of(one, value) for one in inner)
    if origin is tuple:
        return isinstance(value, tuple) and all(is_of(inner[0], one) for one in value)
    if kind in (int, float):
        wanted = numbers.Integral if kind is int else numbers.Real
        return isinstance(value, wanted) and not isinstance(value, bool)
    return isinstance(value, kind)


def in_words(kind: Any) -> str:
    """What to call a kind, for an error: "a whole number, or None"."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return " or ".join(inner)
    if origin in (Union, types.UnionType):
        return ", or ".join(in_words(one) for one in inner)
    if origin is tuple:
        return f"a row of {in_words(inner[0])}"
    names = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}
    return names.get(kind, "None" if kind is type(None) else kind.__name__)

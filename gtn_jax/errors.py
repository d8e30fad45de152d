"""Errors for people: what is wrong, and the nearest thing that would have worked.

What a user can cause is a `ValueError` (or an `OSError` from the file system) of one to three
lines, printed without a traceback; `describe_error` shortens everything else.
"""

import difflib
import re
from collections.abc import Iterable


class UsageError(ValueError):
    """An invalid command-line argument; `gtn` exits with 2, which says that a retry cannot help."""


def unknown_name(what: str, name: str, known: Iterable[str], catalog: str = "") -> ValueError:
    """The error for a name that is not in a table, with the closest matches.

    Args:
        what: the kind of thing, e.g. "backbone".
        name: the unknown name.
        known: the names that exist.
        catalog: URL of a page that lists them all, if they are too many to print.
    """
    # Natural order: 2 before 10.
    known = sorted(known, key=lambda word: [
        int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", word)
    ])  # fmt: skip
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    if catalog:
        hint = f"{hint} (all: {catalog})" if near else f"all are in {catalog}"
    return ValueError(f"unknown {what} {name!r}; {hint}")


def one_line(error: BaseException) -> str:
    """First non-empty line of an exception's message, or its class; at most 200 characters."""
    lines = (" ".join(line.split()) for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:200]


_LINES = 3
_LINE_CHARACTERS = 2000


def describe_error(error: Exception) -> str:
    """A message of one to three lines for the exception that ended a command."""
    text = str(error) or type(error).__name__
    # By name: JAX has renamed this class, and importing it would import JAX.
    if type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError") and (
        "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower()
    ):
        return (
            f"out of memory on the device ({_shortened(text, 1)})\n"
            "make data.batch_size or data.eval_batch_size smaller, raise "
            "training.accumulation_steps, or set model.compute_dtype to bfloat16"
        )
    if isinstance(error, MemoryError):
        return (
            f"out of memory on this machine ({_shortened(text, 1)})\n"
            "make data.batch_size or data.eval_batch_size smaller, or give it more memory"
        )
    if isinstance(error, ValueError | OSError):
        return _shortened(text, _LINES)
    return (
        f"unexpected {type(error).__name__}: {_shortened(text, 1)}\n"
        "this is a fault of gtn_jax, or of code that an experiment file brings: the same command "
        "with --debug shows where it is; please report what that prints"
    )


def _shortened(text: str, lines: int) -> str:
    shortened = [line[:_LINE_CHARACTERS] for line in text.strip().splitlines() if line.strip()]
    return "\n".join(shortened[:lines])

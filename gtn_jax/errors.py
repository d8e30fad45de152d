"""Errors for people: what is wrong, and the nearest thing that would have worked.

What a user can cause is a `ValueError` (or an `OSError` from the file system) of one to three
lines, printed without a traceback; `describe_error` shortens everything else.
"""

import difflib
import re
from collections.abc import Iterable


class ArgumentError(ValueError):
    """A value of an argument that cannot work, whatever the files are: trying again is vain.

    Its text is "argument: message". The command line names the option, and exits with 2.
    """

    def __init__(self, argument: str, message: str):
        """Keep both apart.

        Args:
            argument: its name in the function that was called.
            message: what was found, what is expected.
        """
        super().__init__(argument, message)
        self.argument, self.message = argument, message

    def __str__(self) -> str:
        """The text."""
        return f"{self.argument}: {self.message}"


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

"""How this package says no: sentences for people, with the nearest thing that would have worked.

Anything a user can cause is a `ValueError` (or an `OSError` from the file system) of one to three
lines, which the command line prints without a traceback. Where it recommends an argument, the
argument stands in backticks, as Python (cli/error_text.py).
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
    """The error for a name that is not in a table, offering the nearest ones.

    Args:
        what: the kind of thing, e.g. "backbone".
        name: what was asked for.
        known: the names that exist.
        catalog: address of a page with all of them, where they are too many to be listed.
    """
    # By number: 2 comes before 10.
    known = sorted(known, key=lambda word: [
        int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", word)
    ])  # fmt: skip
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    if catalog:
        hint = f"{hint} (all: {catalog})" if near else f"all are in {catalog}"
    return ValueError(f"unknown {what} {name!r}; {hint}")


def one_line(error: BaseException) -> str:
    """The first line of an exception's message, or else its class; at most 200 characters."""
    lines = (" ".join(line.split()) for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)[:200]

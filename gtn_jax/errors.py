"""How this package says no: sentences for people, with the nearest thing that would have worked.

Anything a user can cause is a `ValueError` (or an `OSError` from the file system) of one to three
lines; the command line prints it without a traceback.
"""

import difflib
from collections.abc import Iterable


def unknown_name(what: str, name: str, known: Iterable[str]) -> ValueError:
    """The error for a name that is not in a table, offering the nearest ones.

    Args:
        what: the kind of thing, e.g. "backbone".
        name: what was asked for.
        known: the names that exist.
    """
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return ValueError(f"unknown {what} {name!r}; {hint}")

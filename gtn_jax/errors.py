"""How this package says no: sentences for people, with the nearest thing that would have worked.

Anything a user can cause is a `ValueError` (or an `OSError` from the file system) of one to three
lines; the command line prints it without a traceback.
"""

import difflib
import re
from collections.abc import Iterable


def unknown_name(what: str, name: str, known: Iterable[str], catalogue: str = "") -> ValueError:
    """The error for a name that is not in a table, offering the nearest ones.

    Args:
        what: the kind of thing, e.g. "backbone".
        name: what was asked for.
        known: the names that exist.
        catalogue: address of a page with all of them, where they are too many to be listed.
    """
    # By number: 2 comes before 10.
    known = sorted(known, key=lambda word: [
        int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", word)
    ])  # fmt: skip
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    if catalogue:
        hint = f"{hint} (all: {catalogue})" if near else f"all are in {catalogue}"
    return ValueError(f"unknown {what} {name!r}; {hint}")

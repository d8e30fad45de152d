"""What verbs say to a person: a line, a complaint, a table.

The progress of a run is training/progress.py's.
"""

import sys
from typing import Any


def say(line: str) -> None:
    """A line on standard output, at once."""
    print(line, flush=True)


def complain(line: str) -> None:
    """A line on standard error, at once."""
    print(f"error: {line}", file=sys.stderr, flush=True)


def show(table: Any) -> None:
    """A rich table; 80 columns wide where the output is no terminal."""
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 80).print("", table, "")

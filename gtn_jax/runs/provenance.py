"""What a run was made with: versions, devices, command; no environment variables. No jax here."""

import datetime
import importlib.metadata
import platform
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

PACKAGES = ("gtn_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")


def start_row(devices: str, step: int) -> dict[str, Any]:
    """A row of a run's `starts.jsonl`: when, how, with what, and from which step.

    Args:
        devices: in use, of `sharding.in_words`.
        step: after which training goes on; 0 for a new run.
    """
    return {
        "step": step,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": _command(sys.argv),
        "devices": devices,
        "python": platform.python_version(),
        **versions(PACKAGES),
    }


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """The installed version of each package, None where there is none."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def _command(typed: list[str]) -> str:
    program = Path(typed[0])
    if program.name == "__main__.py":
        return shlex.join(["python", "-m", program.parent.name, *typed[1:]])
    return shlex.join([program.name, *typed[1:]])

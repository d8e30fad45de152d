"""What produced a run: versions, devices, command (no environment variables). No jax import."""

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
    """A row of `starts.jsonl`: `devices.in_words`, the step resumed from (0 for a new run),
    versions."""
    return {
        "step": step,
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": _command(sys.argv),
        "devices": devices,
        "python": platform.python_version(),
        **versions(PACKAGES),
    }


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Installed version of each package, or None."""
    installed: dict[str, str | None] = {}
    for package in packages:
        try:
            installed[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            installed[package] = None
    return installed


def _command(argv: list[str]) -> str:
    program = Path(argv[0])
    if program.name == "__main__.py":
        return shlex.join(["python", "-m", program.parent.name, *argv[1:]])
    return shlex.join([program.name, *argv[1:]])

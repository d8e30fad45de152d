"""Checks of `gtn doctor`: versions, devices, caches, accelerators that JAX does not use."""

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from gtn_jax.config import Config
from gtn_jax.runs.provenance import PACKAGES, versions

_OPTIONAL = {
    "matplotlib": "plots",
    "torch": "torch",
    "av": "video",
    "flatbuffers": "export",
    "tensorboardX": "tensorboard",
}
"""Package -> the extra that brings it."""
_TPU_FILES = ("/dev/accel0", "/dev/vfio/0")


class Finding(NamedTuple):
    """A line of the report; `fix` is a remedy, or None if nothing is wrong."""

    topic: str
    text: str
    fix: str | None = None


def findings() -> list[Finding]:
    """All checks, the most basic first; a check that fails is a finding."""
    checks: tuple[tuple[str, Callable[[], list[Finding]]], ...] = (
        ("python", _python),
        ("packages", _packages),
        ("devices", _devices),
        ("caches", _caches),
    )
    results = []
    for topic, check in checks:
        try:
            results += check()
        # The report must work in a broken installation.
        except Exception as error:
            fix = "see the error above"
            if topic == "devices" and os.environ.get("JAX_PLATFORMS"):
                fix = "unset JAX_PLATFORMS"
            results.append(Finding(topic, f"{type(error).__name__}: {error}", fix))
    return results


def _python() -> list[Finding]:
    text = f"{platform.python_version()} in {sys.prefix}; {platform.platform()}"
    return [Finding("python", f"{text}; {os.cpu_count()} cores")]


def _packages() -> list[Finding]:
    installed = versions(PACKAGES)
    missing = [name for name, version in installed.items() if version is None and name != "gtn_jax"]
    text = ", ".join(f"{name} {version}" for name, version in installed.items() if version)
    fix = f"pip install {' '.join(missing)}" if missing else None
    extras = versions(_OPTIONAL)
    there = ", ".join(f"{name} {version}" for name, version in extras.items() if version)
    absent = ", ".join(
        f"{name} (gtn_jax[{_OPTIONAL[name]}])" for name, version in extras.items() if not version
    )
    return [
        Finding("packages", text, fix),
        Finding("optional", f"{there or 'none'}; not installed: {absent or 'none'}"),
    ]


def _devices() -> list[Finding]:
    from gtn_jax.devices import all_devices, data_mesh, in_words

    kinds = {device.platform for device in all_devices()}
    results = [Finding("devices", in_words(data_mesh()))]
    card = nvidia_card()
    if card and not kinds & {"gpu", "cuda"}:
        results.append(_unused(card, "cuda12"))
    elif any(Path(file).exists() for file in _TPU_FILES) and "tpu" not in kinds:
        results.append(_unused("a TPU", "tpu"))
    return results


def _unused(card: str, extra: str) -> Finding:
    asked = os.environ.get("JAX_PLATFORMS")
    if asked:
        text = f"{card} is present, but JAX_PLATFORMS is {asked}"
        return Finding("devices", text, "unset JAX_PLATFORMS")
    return Finding(
        "devices", f"{card} is present, but JAX does not use it", f'pip install -U "jax[{extra}]"'
    )


def nvidia_card() -> str | None:
    """Name of an NVIDIA GPU of this machine according to its driver; None without one."""
    program = shutil.which("nvidia-smi")
    if program:
        command = [program, "--query-gpu=name", "--format=csv,noheader"]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        except (OSError, subprocess.TimeoutExpired):
            done = None
        if done is not None and done.returncode == 0 and done.stdout.strip():
            return done.stdout.strip().splitlines()[0]
    for file in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        named = re.search(r"Model:\s*(.+)", file.read_text(errors="replace"))
        return named[1].strip() if named else "an NVIDIA GPU"
    return None


def _caches() -> list[Finding]:
    from huggingface_hub.constants import HF_HUB_CACHE

    from gtn_jax.runtime.compilation_cache import DIRECTORY, VARIABLES

    named = os.environ.get(VARIABLES[0])
    places = {
        "compiled programs": Path(named) if named else DIRECTORY,
        "prepared data": Path(Config().data.data_dir),
        "downloaded weights": Path(HF_HUB_CACHE),
    }
    results = []
    for what, place in places.items():
        folder = place.expanduser()
        size = f"{_bytes_in(folder) / 2**20:,.0f} MiB" if folder.is_dir() else "empty"
        nearest = next(one for one in (folder, *folder.parents) if one.exists())
        fix = None if os.access(nearest, os.W_OK) else f"make {nearest} writable"
        results.append(Finding("cache", f"{what}: {size} in {place}", fix))
    return results


def _bytes_in(folder: Path) -> int:
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(path, name)).st_size
            except OSError:  # removed concurrently
                continue
    return total

"""The verbs of `gtn` that look after run folders; the others are in verbs.py.

As there: a verb reads its arguments, calls one function and prints what came of it.
"""

from pathlib import Path
from typing import Literal

import tyro

from gtn_jax.arguments import parse
from gtn_jax.terminal import say

Positional = tyro.conf.Positional


def checkpoint(arguments: list[str]) -> None:
    """Check that every saved step of a run is as it was written; 1 if one is not."""

    def form(action: Positional[Literal["verify"]], run: Positional[Path]) -> Path:
        """Read every file of every step and compare it with its digest.

        Example: gtn checkpoint verify runs/first

        Args:
            action: verify.
            run: run folder.
        """
        return run

    workdir = parse(form, "gtn checkpoint", arguments)
    from gtn_jax.training.manifest import Manifest
    from gtn_jax.training.run_folder import RunFolder
    from gtn_jax.training.step_folders import look_over

    folder = RunFolder(workdir)
    folder.config()
    summary = folder.summary() or {}
    found = look_over(folder.checkpoints, summary.get("selected_step"))
    for step, manifest in sorted(found.items()):
        if isinstance(manifest, Manifest):
            sizes = f"{len(manifest.files)} files, {manifest.bytes / 2**20:.1f} MiB"
            accuracy = "" if manifest.accuracy is None else f", accuracy {manifest.accuracy:.4f}"
            say(f"step {step}: ok, {sizes}{accuracy}")
        else:
            say(f"step {step}: {manifest}")
    bad = [step for step, manifest in found.items() if isinstance(manifest, str)]
    if bad:
        raise ValueError(f"{workdir}: {len(bad)} of {len(found)} steps cannot be used")
    if not found:
        raise ValueError(f"{workdir} has no checkpoint yet; continue it with `gtn train`")

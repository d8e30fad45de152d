"""How long a ResNet-50 GTN takes to save, to hash and to verify; by hand, on a quiet machine.

    python tests/faults/checkpoint_times.py FOLDER

Prints medians of five: the whole background save, the part of it that hashes (and forces to the
disk), and `manifest.verify`. FOLDER is removed afterwards.
"""

import shutil
import statistics
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp

from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.runs import manifest
from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.training.optimizer import build_optimizer, relative_schedule
from gtn_jax.training.state import create_state

REPETITIONS = 5


def main(folder: Path) -> None:
    optimizer = build_optimizer(0.9, 0.0, relative_schedule("constant", 1, 1, 0, (), 0.1), 0)
    state = create_state(init_variables(GTN("resnet50", 10), 0), optimizer, 0.1, 0)
    # Momentum of zeros would compress to nothing.
    leaves, tree = jax.tree.flatten(state.opt_state)
    noise = [jax.random.normal(jax.random.key(n), leaf.shape) for n, leaf in enumerate(leaves)]
    state = state.replace(opt_state=jax.tree.unflatten(tree, noise))
    seal, hashing = manifest.seal, []

    def timed(*arguments) -> None:
        started = time.perf_counter()
        seal(*arguments)
        hashing.append(time.perf_counter() - started)

    manifest.seal = timed
    blocking, saving, verifying = [], [], []
    try:
        with Checkpoints(folder) as checkpoints:
            for step in range(REPETITIONS):
                started = time.perf_counter()
                checkpoints.save(state.replace(step=jnp.int32(step)), {})
                blocking.append(time.perf_counter() - started)
                checkpoints.wait()
                saving.append(time.perf_counter() - started)
                started = time.perf_counter()
                found = manifest.verify(folder / str(step))
                verifying.append(time.perf_counter() - started)
    finally:
        shutil.rmtree(folder)
    whole, seal_part = statistics.median(saving), statistics.median(hashing)
    print(f"{found.bytes / 2**20:.1f} MiB in {len(found.files)} files")
    print(f"save {whole:.2f} s, of which the caller waits {statistics.median(blocking):.2f} s")
    print(f"hashing and forcing to the disk {seal_part:.3f} s, {seal_part / whole:.1%} of the save")
    print(f"verification {statistics.median(verifying):.3f} s")


if __name__ == "__main__":
    main(Path(sys.argv[1]))

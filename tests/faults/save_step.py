"""Save a step of a small state into a folder of checkpoints, under whatever fault the caller set.

    python tests/faults/save_step.py FOLDER STEP

Ends as `gtn` does: 0, or 1 and a message of at most three lines. No training: a fault at every
single system call of a save takes many processes.
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp

from gtn_jax.runs.checkpoints import Checkpoints
from gtn_jax.runs.quiet_orbax import keep_failed_saves_short
from gtn_jax.training.state import TrainState


def main(folder: Path, step: int) -> int:
    keep_failed_saves_short()
    # 160 kB of noise, which does not compress.
    noise = jax.random.normal(jax.random.key(step), (200, 200))
    state = TrainState(
        step=jnp.int32(step),
        refused=jnp.bool_(False),
        params={"kernel": noise},
        batch_stats={"mean": noise[0]},
        opt_state=(),
        key=jax.random.key(0),
    )
    try:
        with Checkpoints(folder) as checkpoints:
            checkpoints.save(state, {"next": step}, accuracy=step / 10)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), int(sys.argv[2])))

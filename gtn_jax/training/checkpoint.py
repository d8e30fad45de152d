"""Orbax checkpoints of a run: training state and data position, latest and best.

Only this file knows Orbax (https://orbax.readthedocs.io, the v1 interface). A save returns at once
and finishes in the background; a step counts once Orbax has renamed it into place.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from gtn_jax.training.state import TrainState

# Orbax types these more narrowly than it uses them.
_policies: Any = ocp.training.preservation_policies


class Checkpoints:
    """The `checkpoints/` folder of one run. Use as a context manager, or call `close`."""

    def __init__(self, folder: Path, read_only: bool = False):
        """Open or create `folder`; the latest step and the best by accuracy are kept.

        Args:
            folder: of the checkpoints.
            read_only: for everyone but the trainer, which may be saving at this moment: creates
                and cleans up nothing.

        Raises:
            ValueError: nothing there to read.
        """
        self._folder = folder
        if read_only and not folder.is_dir():
            raise ValueError(f"{folder} does not exist; has the run saved yet?")
        policy = _policies.AnyPreservationPolicy(
            [
                _policies.LatestN(1),
                _policies.BestN(
                    n=1,
                    get_metric_fn=lambda metrics: metrics["accuracy"],
                    keep_checkpoints_without_metrics=False,
                ),
            ]
        )
        with _named(folder):
            self._checkpointer: Any = ocp.training.Checkpointer(
                str(folder.absolute()),
                preservation_policy=policy,
                cleanup_tmp_directories=not read_only,
            )

    def __enter__(self) -> "Checkpoints":
        """Nothing more to open."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Wait for the save in flight."""
        self.close()

    def save(
        self, state: TrainState, position: dict[str, Any], accuracy: float | None = None
    ) -> None:
        """Save in the background, unless this step is there already.

        Args:
            state: of the step it is named by.
            position: JSON, of the training batches.
            accuracy: on validation, if this step was evaluated.
        """
        step = int(state.step)
        self._checkpointer.wait()
        if self.latest_step() == step:
            return
        metrics = None if accuracy is None else {"accuracy": accuracy}
        parts = {"state": state, "position": position}
        self._checkpointer.save_checkpointables_async(step, parts, metrics=metrics)

    def latest_step(self) -> int | None:
        """The newest complete step, or None."""
        latest = self._checkpointer.latest
        return None if latest is None else latest.step

    def best_step(self) -> int | None:
        """The evaluated step of highest accuracy (the later of equals), or None."""
        evaluated = [c for c in self._checkpointer.checkpoints if c.metrics]
        if not evaluated:
            return None
        return max(evaluated, key=lambda c: (c.metrics["accuracy"], c.step)).step

    def restore(self, template: TrainState, step: int) -> tuple[TrainState, dict[str, Any]]:
        """Load a step.

        Args:
            template: arrays, or `jax.ShapeDtypeStruct`s, with the shapes, dtypes and shardings
                that the result shall have.
            step: one that exists.

        Returns:
            The state and the data position.

        Raises:
            ValueError: the step cannot be read.
        """
        self._checkpointer.wait()
        abstract = jax.tree.map(_abstract, template)
        with _named(self._folder / str(step)):
            parts = self._checkpointer.load_checkpointables(
                step, {"state": abstract, "position": None}
            )
        return parts["state"], parts["position"]

    def wait(self) -> None:
        """Until the save in flight is complete."""
        self._checkpointer.wait()

    def close(self) -> None:
        """Finish the save in flight and release the folder."""
        self._checkpointer.wait()
        self._checkpointer.close()


def _abstract(leaf: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=leaf.sharding)


@contextlib.contextmanager
def _named(folder: Path) -> Iterator[None]:
    """Turn whatever Orbax and the libraries below it raise into one sentence about `folder`."""
    try:
        yield
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ValueError(
            f"{folder}: unreadable ({reason}); remove the broken step to go back to the one before"
        ) from error

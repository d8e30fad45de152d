"""Videos as images of a split: clip numbers, random frames, means over frames.

A frame's file is CLASS/CLIP/FRAME. Random draws depend only on (seed, draw, clip), so a resumed run
sees the same frames.
"""

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

_STREAM = 25  # separates these draws from others of the same seed


def clip_ids(files: Iterable[str]) -> np.ndarray:
    """int32 B, the clip of each of B files CLASS/CLIP/FRAME, numbered by first appearance."""
    return _numbered([file.rpartition("/")[0] for file in files])


def group_ids(files: Iterable[str]) -> np.ndarray:
    """int32 B, the group of each frame: clips cut from one recording.

    UCF101 names a clip v_CLASS_gGG_cCC; clips of a group share person and place. A held-out share
    that divided a group would measure memorization; UCF101's official lists never do.
    """
    return _numbered([re.sub(r"_c\d+$", "", file.rpartition("/")[0]) for file in files])


def clip_rows(ids: np.ndarray) -> list[np.ndarray]:
    """For each clip of `ids` (int B, from `clip_ids`), in order, the int64 rows of its frames."""
    order = np.argsort(ids, kind="stable")
    bounds = np.flatnonzero(np.diff(ids[order])) + 1
    return np.split(order, bounds) if len(ids) else []


def random_frame(frames: int, seed: int, draw: int, clip: int) -> int:
    """A uniformly random frame index; `draw` is the epoch in training, the step in evaluation."""
    # SeedSequence is stable across NumPy versions; `Generator` is not.
    sequence = np.random.SeedSequence([_STREAM, seed, draw, clip])
    return int(sequence.generate_state(1, np.uint64)[0]) % frames


def epoch_rows(rows: Sequence[np.ndarray], seed: int, epoch: int) -> np.ndarray:
    """int64 C, one random frame of every clip, with `rows` from `clip_rows`."""
    drawn = [
        frames[random_frame(len(frames), seed, epoch, clip)] for clip, frames in enumerate(rows)
    ]
    return np.array(drawn, np.int64)


def row_drawer(rows: Sequence[np.ndarray], seed: int) -> Callable[[int, int], int]:
    """`epoch_rows` one at a time, for `grain.MapDataset.range(C).map_with_index(...)`.

    Returns:
        (index, clip) -> row. Grain's index continues over epochs, so the epoch is index // C; apply
        this right after `range`.
    """

    def row(index: int, clip: int) -> int:
        frames = rows[clip]
        return int(frames[random_frame(len(frames), seed, index // len(rows), clip)])

    return row


def mean_of_frames(probabilities: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Mean of `probabilities` (float B N) over each clip of `ids` (int B): float64 C N."""
    sums = np.zeros((int(ids.max()) + 1, probabilities.shape[1]))
    np.add.at(sums, ids, probabilities)
    return sums / np.bincount(ids)[:, None]


def _numbered(names: list[str]) -> np.ndarray:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int32)

"""Videos as images of a split: which frames are one clip, which one is drawn, what they say.

The file of a frame is CLASS/CLIP/FRAME, so a clip is the file's folder. Draws depend on (seed,
number of the draw, clip) alone: whoever resumes or restarts sees the same frames.
"""

import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

_STREAM = 25
"""Keeps these draws apart from others of the same seed."""


def clip_ids(files: Iterable[str]) -> np.ndarray:
    """int32 B, the clip of each frame; clips are numbered as they first appear.

    Args:
        files: B names as stored with the images, CLASS/CLIP/FRAME.
    """
    return _numbered([file.rpartition("/")[0] for file in files])


def group_ids(files: Iterable[str]) -> np.ndarray:
    """int32 B, the group of each frame: clips cut from one recording.

    UCF101 names a clip v_CLASS_gGG_cCC; clips of one group share person and place, and its official
    lists never divide a group. A held-out share that does would score what it has memorized.
    """
    return _numbered([re.sub(r"_c\d+$", "", file.rpartition("/")[0]) for file in files])


def clip_rows(ids: np.ndarray) -> list[np.ndarray]:
    """For each clip, in order, the int64 rows of its frames.

    Args:
        ids: int B, from `clip_ids`.
    """
    order = np.argsort(ids, kind="stable")
    bounds = np.flatnonzero(np.diff(ids[order])) + 1
    return np.split(order, bounds) if len(ids) else []


def random_frame(frames: int, seed: int, draw: int, clip: int) -> int:
    """One frame of a clip, counted from 0; each is as probable as the others.

    Args:
        frames: of the clip.
        seed: of the run.
        draw: number of the draw: the epoch in training, the step in evaluation.
        clip: number of the clip.
    """
    # SeedSequence promises the same words in every version of NumPy, `Generator` does not.
    sequence = np.random.SeedSequence([_STREAM, seed, draw, clip])
    return int(sequence.generate_state(1, np.uint64)[0]) % frames


def epoch_rows(rows: Sequence[np.ndarray], seed: int, epoch: int) -> np.ndarray:
    """int64 C, one random frame of every clip, in the order of the clips.

    Args:
        rows: from `clip_rows`.
        seed: of the run.
        epoch: counted from 0.
    """
    drawn = [own[random_frame(len(own), seed, epoch, clip)] for clip, own in enumerate(rows)]
    return np.array(drawn, np.int64)


def row_drawer(rows: Sequence[np.ndarray], seed: int) -> Callable[[int, int], int]:
    """`epoch_rows` one at a time, for `grain.MapDataset.range(C).map_with_index(...)`.

    Returns:
        (index, clip) -> row; Grain's index goes on counting in later epochs, so the epoch is
        index // C. Belongs right after `range`: shuffling and batching keep the index.
    """

    def row(index: int, clip: int) -> int:
        own = rows[clip]
        return int(own[random_frame(len(own), seed, index // len(rows), clip)])

    return row


def mean_of_frames(probabilities: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """float64 C N, the mean of each clip's frames.

    Args:
        probabilities: float B N, of each frame.
        ids: int B, from `clip_ids`.
    """
    sums = np.zeros((int(ids.max()) + 1, probabilities.shape[1]))
    np.add.at(sums, ids, probabilities)
    return sums / np.bincount(ids)[:, None]


def _numbered(names: list[str]) -> np.ndarray:
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int32)

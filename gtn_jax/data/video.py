"""Video files -> a few evenly spaced frames, by PyAV (https://pyav.org), an optional extra.

Colors are FFmpeg's conversion to 8-bit RGB. Sound, rotation flags and timestamps are ignored:
frames count in the order in which they are shown.
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from gtn_jax.errors import one_line

FRAMES = 25
"""Frames kept of a video."""


def frame_positions(frames: int, wanted: int = FRAMES) -> np.ndarray:
    """Evenly spaced positions, the first and the last frame included.

    round(linspace(0, frames - 1, wanted)), halves to even; a video of fewer than `wanted` frames
    gives every frame once.

    Args:
        frames: in the video, at least 1.
        wanted: at most so many positions.

    Returns:
        int64, rising, counted from 0.
    """
    return np.unique(np.round(np.linspace(0, frames - 1, wanted)).astype(np.int64))


def read_frames(path: Path, wanted: int = FRAMES) -> list[tuple[int, np.ndarray]]:
    """The frames of a video at `frame_positions`.

    Args:
        path: any container and codec that FFmpeg knows, e.g. .avi.
        wanted: at most so many frames.

    Returns:
        (position counted from 0, uint8 H W 3) of each.

    Raises:
        ValueError: PyAV is not installed, or the file is no readable video; names it.
    """
    av = _pyav(path)
    try:
        # Counting packets costs no decoding, but may be off by the frames that share one. What
        # counts is what was decoded: where that differs, the right positions are decoded again.
        frames = _packets(av, path)
        found, kept = _decode(av, path, frame_positions(max(frames, 1), wanted))
        if found and found != frames:
            _, kept = _decode(av, path, frame_positions(found, wanted))
    # Some of PyAV's errors are ValueErrors or OSErrors too; IndexError: no picture in the file.
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise ValueError(f"{path}: not a readable video ({one_line(error)})") from error
    if not found:
        raise ValueError(f"{path}: not a readable video (no frame in it)")
    return kept


def _pyav(path: Path) -> Any:
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise ValueError(
            f"{path}: reading video needs PyAV: pip install 'gtn_jax[video]'\n"
            "or give frames that are extracted already, as CLIP/image_0001.jpg"
        ) from error


def _packets(av: Any, path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(packet.size > 0 for packet in container.demux(container.streams.video[0]))


def _decode(av: Any, path: Path, positions: np.ndarray) -> tuple[int, list[tuple[int, np.ndarray]]]:
    """How many frames there are, and those at `positions`."""
    wanted, kept, found = set(positions.tolist()), [], 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # several videos are read at a time
        for position, frame in enumerate(container.decode(stream)):
            found = position + 1
            if position in wanted:
                kept.append((position, frame.to_ndarray(format="rgb24")))
    return found, kept

"""Evenly spaced frames of video files, decoded by PyAV (https://pyav.org), an optional extra.

Colors are FFmpeg's conversion to 8-bit RGB. Audio, rotation flags and timestamps are ignored;
frames are counted in presentation order.
"""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from gtn_jax.errors import one_line

FRAMES = 25  # stored per video


def frame_positions(frames: int, wanted: int = FRAMES) -> np.ndarray:
    """Evenly spaced positions including the first and the last frame, int64, increasing from 0.

    round(linspace(0, frames - 1, wanted)), halves to even; a video with fewer than `wanted` (and
    at least 1) frames gives every frame once.
    """
    return np.unique(np.round(np.linspace(0, frames - 1, wanted)).astype(np.int64))


def read_frames(path: Path, wanted: int = FRAMES) -> list[tuple[int, np.ndarray]]:
    """The frames at `frame_positions` of a video in any format that FFmpeg supports.

    Returns:
        (position from 0, uint8 H W 3) of each frame.

    Raises:
        ValueError: PyAV is not installed, or the file is not a readable video; names it.
    """
    av = _pyav(path)
    try:
        # Counting packets needs no decoding, but is off if frames share one; if the number of
        # decoded frames differs, the right positions are decoded again.
        frames = _packets(av, path)
        decoded, images = _decode(av, path, frame_positions(max(frames, 1), wanted))
        if decoded and decoded != frames:
            _, images = _decode(av, path, frame_positions(decoded, wanted))
    # PyAV raises ValueError and OSError too; IndexError: no video stream in the file.
    except (av.FFmpegError, OSError, ValueError, IndexError) as error:
        raise ValueError(f"{path}: not a readable video ({one_line(error)})") from error
    if not decoded:
        raise ValueError(f"{path}: not a readable video (no frame in it)")
    return images


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
    """(number of frames, frames at `positions`)."""
    wanted, images, decoded = set(positions.tolist()), [], 0
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1  # several videos are decoded in parallel
        for position, frame in enumerate(container.decode(stream)):
            decoded = position + 1
            if position in wanted:
                images.append((position, frame.to_ndarray(format="rgb24")))
    return decoded, images

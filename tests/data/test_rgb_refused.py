"""Files that are refused: each in one line that names it, and a bomb before it is decoded."""

import io
import resource
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image

from gtn_jax.data.rgb import open_rgb


def saved(image: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


NOISE = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "empty, 0 bytes"),
        (LFS, "git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "a web page"),
        (b"%!PS-Adobe-3.0 EPSF", "neither JPEG, PNG"),
        (b"SIMPLE  =                    T", "neither JPEG, PNG"),
        (b"%PDF-1.4", "a PDF"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"RIFF\0\0\0\0WAVE", "neither JPEG, PNG"),
        (saved(NOISE, "JPEG")[:900], "truncated"),
        (saved(NOISE, "PNG")[:900], "truncated"),
        (saved(NOISE, "TIFF")[:900], ""),
        (saved(NOISE, "BMP")[:900], "truncated"),
        (saved(NOISE, "GIF")[:300], ""),
        (saved(NOISE, "WEBP")[:300], ""),
        (saved(NOISE, "JPEG")[:3], ""),
        (saved(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"), "32 bits"),
        (saved(Image.fromarray(np.ones((2, 2), np.int32)), "TIFF"), "32 bits"),
    ],
    ids=[
        "empty",
        "git lfs",
        "html",
        "eps",
        "fits",
        "pdf",
        "heic",
        "wav",
        "jpeg cut",
        "png cut",
        "tiff cut",
        "bmp cut",
        "gif cut",
        "webp cut",
        "jpeg start",
        "float",
        "32-bit integers",
    ],  # fmt: skip
)
def test_unreadable_files_are_one_line(encoded, reason):
    with pytest.raises(ValueError, match=r"^cat/7.jpg: not a readable image \(.*\)$") as refused:
        open_rgb(encoded, "cat/7.jpg")
    assert reason in str(refused.value)
    assert "0x" not in str(refused.value)  # no object in memory


def bomb(side: int) -> bytes:
    """A PNG of 1 bit a pixel, all black, about side^2 / 8,000 bytes."""
    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(b"\0" * (side // 8 + 1)) for _ in range(side)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


@pytest.mark.parametrize(("side", "megapixels"), [(9472, 90), (16384, 268)])
def test_bomb_is_refused_by_its_header(side, megapixels):
    encoded = bomb(side)
    assert len(encoded) < 40_000
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    with pytest.raises(ValueError, match=f"{megapixels} megapixels, more than 64"):
        open_rgb(encoded, "bomb.png")
    assert time.monotonic() - started < 0.5
    # Linux counts in KiB. Decoded, the smaller one takes 270 MB as RGB.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000


def test_gif_frame_beyond_its_screen_counts():
    encoded = bytearray(saved(np.eye(3, dtype=np.uint8), "GIF"))
    place = encoded.index(b",\0\0\0\0")
    encoded[place + 5 : place + 9] = struct.pack("<HH", 9000, 9000)
    with pytest.raises(ValueError, match="81 megapixels"):
        open_rgb(bytes(encoded), "a.gif")


def test_cap_is_a_parameter():
    assert open_rgb(saved(np.zeros((100, 100), np.uint8)), "a", 0.01).size == (100, 100)
    with pytest.raises(ValueError, match="101 x 100 are 0 megapixels, more than 0.01"):
        open_rgb(saved(np.zeros((100, 101), np.uint8)), "a", 0.01)

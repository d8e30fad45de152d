"""Image files -> upright 8-bit RGB, with one defined result or an error for each kind of file.

The first bytes select one of Pillow's format classes (https://pillow.readthedocs.io), as
`Image.open` has a process-wide size limit and reports a damaged header only as an unknown format.
ICC profiles and gamma are not applied.
"""

import contextlib
import io
from collections.abc import Iterator

import numpy as np
from PIL import ExifTags, Image, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from gtn_jax.errors import one_line

MAX_MEGAPIXELS = 64.0
"""Limit on an image, checked in the header before decoding: 11 kB of PNG can hold 90."""

_OPENERS: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (b"\xff\xd8\xff", JpegImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    (b"GIF8", GifImageFile),
    (b"BM", BmpImageFile),
    (b"II*\0", TiffImageFile),
    (b"MM\0*", TiffImageFile),
    (b"RIFF", WebPImageFile),
)
_FOREIGN = (
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file with `git lfs pull`"),
    (b"<", "a web page or other text, so the download went wrong"),
    (b"%PDF", "a PDF; save its pictures as JPEG or PNG"),
)
_PNG_METADATA = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0


def open_rgb(encoded: bytes, file: str, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Decode a JPEG, PNG, GIF, BMP, TIFF or WebP file to upright 8-bit RGB.

    EXIF (or else XMP) orientation is applied. Gray, palette, CMYK and 1-bit images are converted,
    transparency is composited on white; 16-bit channels keep the high byte, animations the first
    frame.

    Raises:
        ValueError: another format, damaged, above `max_megapixels`, or 32-bit pixels, which have no
            defined range; names `file`.
    """
    with _readable(file):
        image = _open(encoded, max_megapixels)
        image.load()
        _check_size(image.size, max_megapixels)  # a GIF frame may exceed the header's size
        with contextlib.suppress(Exception):  # ignores damaged EXIF data
            ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image)


def upright_size(encoded: bytes, file: str) -> tuple[int, int]:
    """Width and height of `open_rgb`'s result, from the header alone; errors as far as it tells."""
    with _readable(file):
        image = _open(encoded, MAX_MEGAPIXELS)
    if isinstance(image, TiffImageFile):
        return image.size  # already transposed by Pillow
    # `getexif` decodes a whole PNG, as metadata may follow the pixels.
    if not isinstance(image, PngImageFile) or any(chunk in encoded for chunk in _PNG_METADATA):
        with contextlib.suppress(Exception):
            # Orientations 5 to 8 swap width and height.
            if image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8):
                return image.height, image.width
    return image.size


@contextlib.contextmanager
def _readable(file: str) -> Iterator[None]:
    """Convert the many kinds of errors of Pillow's decoders to a one-line ValueError."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{file}: not a readable image ({one_line(error)})") from error


def _open(encoded: bytes, max_megapixels: float) -> ImageFile:
    image = _opener(encoded)(io.BytesIO(encoded))
    _check_size(image.size, max_megapixels)
    return image


def _opener(encoded: bytes) -> type[ImageFile]:
    start = encoded[:32]
    if not start:
        raise ValueError("empty, 0 bytes")
    for prefix, opener in _OPENERS:
        if start.startswith(prefix) and (prefix != b"RIFF" or start[8:12] == b"WEBP"):
            return opener
    if start[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif"):
        raise ValueError("HEIC or AVIF, which is not read; save it as JPEG")
    for prefix, what in _FOREIGN:
        if start.lstrip(b"\xef\xbb\xbf\r\n\t ").startswith(prefix):
            raise ValueError(what)
    raise ValueError("neither JPEG, PNG, GIF, BMP, TIFF nor WebP")


def _check_size(size: tuple[int, int], max_megapixels: float) -> None:
    megapixels = size[0] * size[1] / 1e6
    if megapixels > max_megapixels:
        raise ValueError(
            f"{size[0]} x {size[1]} are {megapixels:.0f} megapixels, more than "
            f"{max_megapixels:g}; make it smaller"
        )


def _integer(value: object) -> int:
    """The integer of a TIFF field, which may have any type; -1 if there is none."""
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, int) else -1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = _high_byte(image)
    elif image.mode in ("I", "F"):
        raise ValueError("pixels of 32 bits, of no defined range; save it with 8 or 16 bits")
    if not image.has_transparency_data:
        # convert() would copy an RGB image.
        return image if image.mode == "RGB" else image.convert("RGB")
    transparency = image.info.get("transparency")
    if isinstance(transparency, tuple) and max(transparency) > 255:
        # Pillow reduces 16-bit colors to the high byte, but not the transparent one.
        image.info["transparency"] = tuple(level >> 8 for level in transparency)
    layered = image.convert("RGBA")
    white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layered).convert("RGB")


def _high_byte(image: Image.Image) -> Image.Image:
    """16-bit gray -> 8-bit gray, with alpha 0 at a PNG's transparent level."""
    levels = np.asarray(image).astype(np.uint16)
    transparent = image.info.get("transparency")
    fields = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    bits = _integer(fields.get(_BITS_PER_SAMPLE, 16))
    gray = (levels >> (bits - 8)).astype(np.uint8)  # 12-bit TIFF levels are not scaled to 16
    if _integer(fields.get(_PHOTOMETRIC, 1)) == _WHITE_IS_ZERO:
        gray = 255 - gray
    if not isinstance(transparent, int):
        return Image.fromarray(gray)
    alpha = np.where(levels == transparent, 0, 255).astype(np.uint8)
    return Image.merge("LA", [Image.fromarray(gray), Image.fromarray(alpha)])

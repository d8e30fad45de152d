"""Any image file -> upright 8-bit RGB; each odd kind of file has one defined answer, or a refusal.

Pillow decodes (https://pillow.readthedocs.io), by a class for each format that is chosen here from
the first bytes: `Image.open` warns of large images, or refuses them by a limit of the whole
process, and says of a damaged header only that it does not know the file. Does not resize:
decode.py's. Not applied: ICC profiles, gamma.
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
"""Of one image, by its header, before anything is decoded: 11 kB of PNG can hold 90."""

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
    """Decode to upright 8-bit RGB.

    EXIF orientation (or XMP's, where there is none) is applied. Gray, palette, CMYK and 1-bit
    images become RGB; what is transparent shows white; of 16 bits a channel the high byte is kept;
    of an animation the first frame.

    Args:
        encoded: a JPEG, PNG, GIF, BMP, TIFF or WebP file.
        file: its name, for the error.
        max_megapixels: the largest image to decode, in millions of pixels.

    Raises:
        ValueError: no image of these formats, damaged, too large, or of 32-bit or other pixels
            that have no one meaning in 8 bits; names the file.
    """
    with _readable(file):
        image = _open(encoded, max_megapixels)
        image.load()
        _check_size(image.size, max_megapixels)  # a GIF's frame may exceed what its header says
        with contextlib.suppress(Exception):  # a damaged EXIF block turns nothing
            ImageOps.exif_transpose(image, in_place=True)
        return _to_rgb(image)


def upright_size(encoded: bytes, file: str) -> tuple[int, int]:
    """Width and height of what `open_rgb` returns, from the header alone.

    Raises:
        ValueError: as `open_rgb`, as far as the header tells.
    """
    with _readable(file):
        image = _open(encoded, MAX_MEGAPIXELS)
    if isinstance(image, TiffImageFile):
        return image.size  # Pillow tells it as turned
    # `getexif` decodes a PNG, as what tells its orientation may come after its pixels.
    if not isinstance(image, PngImageFile) or any(chunk in encoded for chunk in _PNG_METADATA):
        with contextlib.suppress(Exception):
            # Orientations from 5 on lie on their side.
            if image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8):
                return image.height, image.width
    return image.size


@contextlib.contextmanager
def _readable(file: str) -> Iterator[None]:
    """Turn what a decoder raises into one line; Pillow lets a dozen kinds of errors through."""
    try:
        yield
    except Exception as error:
        raise ValueError(f"{file}: not a readable image ({one_line(error)})") from error


def _open(encoded: bytes, max_megapixels: float) -> ImageFile:
    """Read the header."""
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


def _whole(value: object) -> int:
    """A TIFF field that should hold one whole number and may hold anything."""
    first = value[0] if isinstance(value, tuple) and value else value
    return first if isinstance(first, int) else -1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I;16"):
        image = _high_byte(image)
    elif image.mode in ("I", "F"):
        raise ValueError("pixels of 32 bits, of no defined range; save it with 8 or 16 bits")
    if not image.has_transparency_data:
        # convert() would copy what is RGB already.
        return image if image.mode == "RGB" else image.convert("RGB")
    transparency = image.info.get("transparency")
    if isinstance(transparency, tuple) and max(transparency) > 255:
        # Pillow reads the high byte of 16-bit colors, but keeps the 16 bits of the one to hide.
        image.info["transparency"] = tuple(level >> 8 for level in transparency)
    layered = image.convert("RGBA")
    white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layered).convert("RGB")


def _high_byte(image: Image.Image) -> Image.Image:
    """16-bit gray -> 8-bit gray; with alpha 0 at the level that a PNG names as transparent."""
    levels = np.asarray(image).astype(np.uint16)
    transparent = image.info.get("transparency")
    fields = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    bits = _whole(fields.get(_BITS_PER_SAMPLE, 16))
    gray = (levels >> (bits - 8)).astype(np.uint8)  # a TIFF's 12 bits come unscaled
    if _whole(fields.get(_PHOTOMETRIC, 1)) == _WHITE_IS_ZERO:
        gray = 255 - gray
    if not isinstance(transparent, int):
        return Image.fromarray(gray)
    alpha = np.where(levels == transparent, 0, 255).astype(np.uint8)
    return Image.merge("LA", [Image.fromarray(gray), Image.fromarray(alpha)])

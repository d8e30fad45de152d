"""Any image file -> upright 8-bit RGB; each odd kind of file has one defined answer, or a refusal.

Pillow decodes (https://pillow.readthedocs.io), by a class for each format that is chosen here from
the first bytes: `Image.open` would also try decoders that run programs of their own, warn of large
images instead of refusing them, and know nothing of our cap. Does not resize: decode.py's. Not
applied: ICC profiles, gamma, orientation in XMP.
"""

import io
import struct

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

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
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF 2.32, 4.6.4 A: orientation of the stored image -> what turns it upright."""
_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0


def open_rgb(encoded: bytes, file: str, max_megapixels: float = MAX_MEGAPIXELS) -> Image.Image:
    """Decode to upright 8-bit RGB.

    EXIF orientation is applied. Grey, palette, CMYK and 1-bit images become RGB; what is
    transparent shows white; of 16 bits a channel the high byte is kept; of an animation the first
    frame.

    Args:
        encoded: a JPEG, PNG, GIF, BMP, TIFF or WebP file.
        file: its name, for the error.
        max_megapixels: the largest image to decode, in millions of pixels.

    Raises:
        ValueError: no image of these formats, damaged, too large, or of 32-bit or other pixels
            that have no one meaning in 8 bits; names the file.
    """
    try:
        image = _opener(encoded)(io.BytesIO(encoded))
        _check_size(image.size, max_megapixels)
        image.load()
        _check_size(image.size, max_megapixels)  # a GIF's frame may exceed what its header says
        turn = _TURNS.get(_orientation(image))
        rgb = _to_rgb(image)
        return rgb if turn is None else rgb.transpose(turn)
    # Whatever a decoder can raise on bytes from anywhere: Pillow lets OSError, SyntaxError,
    # ValueError, EOFError, struct.error, zlib.error and more through.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{file}: not a readable image ({reason})") from error


def upright_size(encoded: bytes, file: str) -> tuple[int, int]:
    """Width and height of what `open_rgb` returns, from the header alone.

    Raises:
        ValueError: as `open_rgb`, as far as the header tells.
    """
    try:
        image = _opener(encoded)(io.BytesIO(encoded))
        _check_size(image.size, MAX_MEGAPIXELS)
        # A PNG may tell its orientation after its pixels, which Pillow sees when it has read them.
        if isinstance(image, PngImageFile) and "exif" not in image.info and b"eXIf" in encoded:
            image.load()
    except Exception as error:  # as above
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{file}: not a readable image ({reason})") from error
    # Orientations from 5 on lie on their side.
    is_turned = 5 <= _orientation(image) <= 8
    return (image.height, image.width) if is_turned else (image.width, image.height)


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


def _orientation(image: Image.Image) -> int:
    """1 to 8; 1, upright, where there is none or the EXIF block is damaged."""
    if isinstance(image, TiffImageFile):
        return 1  # Pillow turns a TIFF as it loads, and tells its size as turned
    # Pillow's own reader warns on damaged blocks, which are common and would fill the screen.
    block = image.info.get("exif", b"").removeprefix(b"Exif\0\0")
    order = {b"II": "<", b"MM": ">"}.get(block[:2])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(order + "I", block, 4)
        (count,) = struct.unpack_from(order + "H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, _kind, _count, value = struct.unpack_from(order + "HHIH", block, entry)
            if tag == _ORIENTATION:
                return value
    except struct.error:
        pass
    return 1


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
        # Pillow reads the high byte of 16-bit colours, but keeps the 16 bits of the one to hide.
        image.info["transparency"] = tuple(level >> 8 for level in transparency)
    layered = image.convert("RGBA")
    white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layered).convert("RGB")


def _high_byte(image: Image.Image) -> Image.Image:
    """16-bit grey -> 8-bit grey; with alpha 0 at the level that a PNG names as transparent."""
    levels = np.asarray(image).astype(np.uint16)
    transparent = image.info.get("transparency")
    fields = image.tag_v2 if isinstance(image, TiffImageFile) else {}
    bits = _whole(fields.get(_BITS_PER_SAMPLE, 16))
    grey = (levels >> (bits - 8)).astype(np.uint8)  # a TIFF's 12 bits come unscaled
    if _whole(fields.get(_PHOTOMETRIC, 1)) == _WHITE_IS_ZERO:
        grey = 255 - grey
    if not isinstance(transparent, int):
        return Image.fromarray(grey)
    alpha = np.where(levels == transparent, 0, 255).astype(np.uint8)
    return Image.merge("LA", [Image.fromarray(grey), Image.fromarray(alpha)])

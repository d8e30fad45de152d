"""Every odd kind of image file: its pixels, by hand and by a golden hash."""

import hashlib
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from gtn_jax.data.rgb import open_rgb, upright_size

# 3 wide, 2 high: no two pixels alike, so that every turn shows.
PIXELS = np.array(
    [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[250, 128, 64], [16, 32, 48], [7, 70, 200]]],
    np.uint8,
)
GREY = np.array([[0, 60, 120], [180, 240, 255]], np.uint8)


def saved(image: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(image) if isinstance(image, np.ndarray) else image
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def raw_png(
    width: int, height: int, bits: int, color: int, rows: bytes, transparent: bytes = b""
) -> bytes:
    """A PNG by its specification (https://www.w3.org/TR/png-3/): Pillow cannot write all kinds."""
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0)
    middle = chunk(b"tRNS", transparent) if transparent else b""
    body = chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + middle + body + chunk(b"IEND", b"")


def rows16(*rows: list[int]) -> bytes:
    return b"".join(b"\0" + struct.pack(f">{len(row)}H", *row) for row in rows)


def tiff16(levels: list[int], bits: int, photometric: int) -> bytes:
    """Little-endian gray TIFF of one row, by TIFF 6.0."""
    if bits == 12:
        pairs = zip(levels[::2], levels[1::2], strict=True)
        packed = [(a >> 4, (a & 15) << 4 | b >> 8, b & 255) for a, b in pairs]
        strip = bytes(byte for three in packed for byte in three)
    else:
        strip = struct.pack(f"<{len(levels)}H", *levels)
    fields = [
        (256, len(levels)), (257, 1), (258, bits), (259, 1), (262, photometric),
        (273, 8), (277, 1), (278, 1), (279, len(strip)),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    directory = struct.pack("<H", len(fields)) + entries + struct.pack("<I", 0)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory


def palette_image(transparency: int | bytes | None) -> bytes:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "L")
    image = Image.frombytes("P", image.size, image.tobytes())
    image.putpalette([200, 10, 10, 10, 200, 10, 10, 10, 200])
    return saved(image, **({} if transparency is None else {"transparency": transparency}))


def animation(kind: str) -> bytes:
    first, second = (Image.new("RGB", (4, 3), color) for color in ("red", "blue"))
    lossless = {"lossless": True} if kind == "WEBP" else {}
    return saved(first, kind, save_all=True, append_images=[second], duration=40, **lossless)


def over_white(color: list[int], alpha: float) -> list[float]:
    return [alpha * level + 255 * (1 - alpha) for level in color]


RGBA = np.dstack([PIXELS, np.array([[255, 0, 128], [64, 255, 1]], np.uint8)])
OVER_WHITE = [
    [over_white(list(pixel[:3]), pixel[3] / 255) for pixel in row] for row in RGBA.tolist()
]
LEVELS = [0, 255, 256, 40000, 65535]
HIGH = [0, 0, 1, 156, 255]


def gray3(values: list[int]) -> list[list[list[int]]]:
    return [[[value] * 3 for value in values]]


CASES = {
    "rgb png": (saved(PIXELS), PIXELS),
    "rgb bmp": (saved(PIXELS, "BMP"), PIXELS),
    "rgb tiff": (saved(PIXELS, "TIFF"), PIXELS),
    "rgb tiff lzw": (saved(PIXELS, "TIFF", compression="tiff_lzw"), PIXELS),
    "rgb webp": (saved(PIXELS, "WEBP", lossless=True), PIXELS),
    "gray": (saved(GREY), np.stack([GREY] * 3, -1)),
    "1 bit": (saved(Image.fromarray(GREY > 100)), np.stack([(GREY > 100) * 255] * 3, -1)),
    "gray + alpha": (
        saved(np.dstack([[[0, 0, 200]], [[255, 0, 128]]]).astype(np.uint8)),
        [[[0] * 3, [255] * 3, over_white([200] * 3, 128 / 255)]],
    ),
    "alpha": (saved(RGBA), OVER_WHITE),
    "alpha webp": (saved(RGBA, "WEBP", lossless=True, exact=True), OVER_WHITE),
    "alpha tiff": (saved(RGBA, "TIFF"), OVER_WHITE),
    "palette": (palette_image(None), [[[200, 10, 10], [10, 200, 10], [10, 10, 200]]]),
    "palette, one clear": (palette_image(1), [[[200, 10, 10], [255] * 3, [10, 10, 200]]]),
    "palette, alphas": (
        palette_image(bytes([255, 0, 128])),
        [[[200, 10, 10], [255] * 3, over_white([10, 10, 200], 128 / 255)]],
    ),
    "gray, one clear": (saved(GREY, transparency=120), [[[0] * 3, [60] * 3, [255] * 3],
                                                        [[180] * 3, [240] * 3, [255] * 3]]),
    "rgb, one clear": (
        saved(PIXELS, transparency=(16, 32, 48)),
        [PIXELS[0].tolist(), [[250, 128, 64], [255] * 3, [7, 70, 200]]],
    ),
    "16-bit gray": (raw_png(5, 1, 16, 0, rows16(LEVELS)), gray3(HIGH)),
    "16-bit gray, one clear": (
        raw_png(5, 1, 16, 0, rows16(LEVELS), struct.pack(">H", 40000)),
        gray3([0, 0, 1, 255, 255]),
    ),
    "16-bit gray + alpha": (
        raw_png(2, 1, 16, 4, rows16([40000, 65535, 40000, 0])),
        gray3([156, 255]),
    ),
    "16-bit rgb": (raw_png(1, 2, 16, 2, rows16([40000, 255, 256], [65535, 1, 2])),
                   [[[156, 0, 1]], [[255, 0, 0]]]),
    "16-bit rgb, one clear": (
        raw_png(2, 1, 16, 2, rows16([40000, 255, 256, 65535, 1, 2]),
                struct.pack(">HHH", 40000, 255, 256)),
        [[[255] * 3, [255, 0, 0]]],
    ),
    "16-bit rgb + alpha": (
        raw_png(2, 1, 16, 6, rows16([40000, 255, 256, 65535, 40000, 255, 256, 0])),
        [[[156, 0, 1], [255] * 3]],
    ),
    "16-bit tiff": (tiff16(LEVELS, 16, 1), gray3(HIGH)),
    "16-bit tiff, white is 0": (tiff16(LEVELS, 16, 0), gray3([255 - level for level in HIGH])),
    "12-bit tiff": (tiff16([0, 15, 16, 4095], 12, 1), gray3([0, 0, 1, 255])),
    "animated gif": (animation("GIF"), np.tile([255, 0, 0], (3, 4, 1))),
    "animated png": (animation("PNG"), np.tile([255, 0, 0], (3, 4, 1))),
    "animated webp": (animation("WEBP"), np.tile([255, 0, 0], (3, 4, 1))),
    "1 x 1": (saved(np.full((1, 1, 3), 9, np.uint8)), [[[9, 9, 9]]]),
    "1 x 3000": (
        saved(np.arange(9000).reshape(3000, 1, 3).astype(np.uint8)),
        (np.arange(9000) % 256).reshape(3000, 1, 3),
    ),
    "icc profile": (saved(PIXELS, icc_profile=b"not applied" * 20), PIXELS),
}  # fmt: skip
GOLDEN = {
    "rgb png": "f4aedf951ff2d31f",
    "rgb bmp": "f4aedf951ff2d31f",
    "rgb tiff": "f4aedf951ff2d31f",
    "rgb tiff lzw": "f4aedf951ff2d31f",
    "rgb webp": "f4aedf951ff2d31f",
    "gray": "767b0c0cae8b18a3",
    "1 bit": "ae82d5dca672893a",
    "gray + alpha": "fca895daff3fa23f",
    "alpha": "6772e725b4ee6f93",
    "alpha webp": "6772e725b4ee6f93",
    "alpha tiff": "6772e725b4ee6f93",
    "palette": "3aac56bc36cb17e9",
    "palette, one clear": "9b8067a86caf132c",
    "palette, alphas": "964496c4d6ada5c3",
    "gray, one clear": "de575a2ed15d4f8c",
    "rgb, one clear": "56ab269f1295f444",
    "16-bit gray": "acf5c523c35243c8",
    "16-bit gray, one clear": "910e0f580feeb0ad",
    "16-bit gray + alpha": "c72111b2b4183d25",
    "16-bit rgb": "c4c013c3adc1efa1",
    "16-bit rgb, one clear": "97ddea163ef06e3e",
    "16-bit rgb + alpha": "2285c221686d939c",
    "16-bit tiff": "acf5c523c35243c8",
    "16-bit tiff, white is 0": "7bcf2535557f1d27",
    "12-bit tiff": "be2cbf85c2199740",
    "animated gif": "9fbde8a3dc19cf6b",
    "animated png": "9fbde8a3dc19cf6b",
    "animated webp": "9fbde8a3dc19cf6b",
    "1 x 1": "d77e0d0b2998002e",
    "1 x 3000": "7b9b7d67685ffaae",
    "icc profile": "f4aedf951ff2d31f",
}


@pytest.mark.parametrize("case", CASES)
def test_pixels_are_defined(case):
    encoded, expected = CASES[case]
    image = open_rgb(encoded, "a.png")
    found = np.asarray(image)
    assert image.mode == "RGB" and found.shape == np.shape(expected)
    assert upright_size(encoded, "a.png") == image.size
    # Compositing rounds; all else is exact.
    tolerance = 0.51 if "alpha" in case else 0
    np.testing.assert_allclose(found.astype(float), expected, atol=tolerance)
    digest = hashlib.sha256(str(found.shape).encode() + found.tobytes()).hexdigest()
    assert digest[:16] == GOLDEN[case]


def test_every_case_has_a_hash():
    assert set(GOLDEN) == set(CASES)


UPRIGHT = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
# EXIF 2.32, 4.6.4 A: where the stored row 0 and column 0 are in the upright image.
STORED = {
    1: UPRIGHT,  # top, left
    2: UPRIGHT[:, ::-1],  # top, right
    3: UPRIGHT[::-1, ::-1],  # bottom, right
    4: UPRIGHT[::-1],  # bottom, left
    5: UPRIGHT.T,  # left, top
    6: np.rot90(UPRIGHT),  # right, top
    7: np.rot90(UPRIGHT, 2).T,  # right, bottom
    8: np.rot90(UPRIGHT, -1),  # left, bottom
}


def exif(orientation: int, order: str = "<") -> bytes:
    """An EXIF block with one other field before the orientation."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    fields = struct.pack(order + "HHII", 0x0100, 4, 1, 3)
    fields += struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + mark + struct.pack(order + "IH", 8, 2) + fields + b"\0\0\0\0"


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_orientation_is_applied(orientation, kind):
    stored = np.stack([STORED[orientation]] * 3, -1)
    options = {"exif": exif(orientation)}
    if kind == "WEBP":
        options["lossless"] = True
    if kind == "TIFF":
        options = {"tiffinfo": {0x0112: orientation}}
    encoded = saved(stored, kind, **options)
    found = np.asarray(open_rgb(encoded, "a"))
    np.testing.assert_array_equal(found[..., 0], UPRIGHT)
    assert upright_size(encoded, "a") == found.shape[1::-1]


@pytest.mark.parametrize("case", ["16-bit gray, one clear", "palette, alphas", "1 bit"])
def test_orientation_of_other_modes(case):
    encoded = CASES[case][0]
    end = encoded.index(b"IDAT") - 4
    turned = encoded[:end] + chunk(b"eXIf", exif(6).removeprefix(b"Exif\0\0")) + encoded[end:]
    expected = np.rot90(np.asarray(open_rgb(encoded, "a")), -1)
    np.testing.assert_array_equal(np.asarray(open_rgb(turned, "a")), expected)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_orientation_that_only_xmp_tells(kind):
    xmp = '<rdf:Description tiff:Orientation="6"/>'
    options = {"xmp": xmp.encode()}
    if kind == "PNG":
        options = {"pnginfo": PngInfo()}
        options["pnginfo"].add_itxt("XML:com.adobe.xmp", xmp)
    encoded = saved(np.zeros((8, 16, 3), np.uint8), kind, **options)
    assert open_rgb(encoded, "a").size == upright_size(encoded, "a") == (8, 16)


def test_orientation_after_the_pixels():
    image = Image.fromarray(np.zeros((2, 3, 3), np.uint8))
    encoded = saved(image, "PNG")
    end = encoded.index(b"IEND") - 4
    encoded = encoded[:end] + chunk(b"eXIf", exif(6).removeprefix(b"Exif\0\0")) + encoded[end:]
    assert open_rgb(encoded, "a").size == upright_size(encoded, "a") == (2, 3)


@pytest.mark.parametrize("order", ["<", ">"])
def test_orientation_of_a_jpeg(order):
    image = Image.new("RGB", (32, 16), "blue")
    image.paste("red", (0, 0, 16, 16))  # the left half: up, once turned by a quarter
    encoded = saved(image, "JPEG", exif=exif(6, order))
    found = np.asarray(open_rgb(encoded, "a")).astype(int)
    assert found.shape == (32, 16, 3)
    assert upright_size(encoded, "a") == (16, 32)
    assert np.abs(found[4, 8] - [255, 0, 0]).max() < 6
    assert np.abs(found[28, 8] - [0, 0, 255]).max() < 6


@pytest.mark.parametrize(
    "block",
    [exif(9), exif(0), exif(6)[:20], b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"rubbish"],
)
def test_damaged_exif_turns_nothing(block):
    found = np.asarray(open_rgb(saved(PIXELS, exif=block), "a"))
    np.testing.assert_array_equal(found, PIXELS)


def test_cmyk_and_gray_jpeg():
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow: red
    found = np.asarray(open_rgb(saved(inks, "JPEG", quality=95), "a")).astype(int)
    assert np.abs(found - [255, 0, 0]).max() <= 4
    found = np.asarray(open_rgb(saved(Image.new("L", (16, 16), 90), "JPEG"), "a")).astype(int)
    assert np.abs(found - 90).max() <= 2

"""Lists, images and archives from the network."""

import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gtn_jax.data import sources
from gtn_jax.data.archives import Limits, unpacked
from gtn_jax.data.decode import decode
from gtn_jax.data.rgb import open_rgb, upright_size
from tests.fuzz.fuzzing import at_most_a_refusal, damaged, fuzz, st

pytestmark = pytest.mark.slow


LISTED = {
    "dtd": (
        "1",
        ["images/a/1.jpg", "images/b/2.jpg"],
        {"labels/train1.txt": b"a/1.jpg\r\nb/2.jpg\n", "labels/val1.txt": b"a/1.jpg",
         "labels/test1.txt": b""},
    ),
    "mit67": ("", ["Images/a b/1.jpg"], {"TrainImages.txt": b"a b/1.jpg\n", "TestImages.txt": b""}),
    "minc2500": (
        "1",
        ["images/a/1.jpg"],
        {"labels/train1.txt": b"images/a/1.jpg\n", "labels/validate1.txt": b"",
         "labels/test1.txt": b""},
    ),
    "cub200": (
        "",
        ["images/1.a/1.jpg", "images/2.b/2.jpg"],
        {"images.txt": b"1 1.a/1.jpg\n2 2.b/2.jpg\n", "image_class_labels.txt": b"1 1\n2 2\n",
         "train_test_split.txt": b"1 1\n2 0\n"},
    ),
    "ucf101": (
        "1",
        ["a/v_a_g01_c01/image_0001.jpg"],
        {"classInd.txt": b"1 a\n2 b\n", "trainlist01.txt": b"a/v_a_g01_c01.avi 1\n",
         "testlist01.txt": b"a/v_a_g01_c01.avi\n"},
    ),
    "fashionai": (
        "collar_design",
        ["Images/c/1.jpg"],
        {"Annotations/label.csv": b"Images/c/1.jpg,collar_design_labels,nnymn\n"
                                  b"Images/c/2.jpg,skirt_length_labels,nnymnn\n"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTED)
@fuzz(250, data=st.data(), partial=st.booleans())
def test_lists(room, name, data, partial):
    variant, images, lists = LISTED[name]
    for file in [*images, *lists]:
        (room / file).parent.mkdir(parents=True, exist_ok=True)
        (room / file).write_bytes(lists.get(file, b""))
    file = data.draw(st.sampled_from(list(lists)))
    (room / file).write_bytes(data.draw(damaged(lists[file], *lists.values())))
    builder, _, _ = sources._look_up(f"{name}/{variant}" if variant else name)
    with at_most_a_refusal(*(Path(file).name for file in lists), "classes"):
        made = builder(source=room, variant=variant, allow_partial=partial, data_dir=room / "data")
        made.examples()


def sound_images() -> list[bytes]:
    """Small files of every format and of the odd kinds of each."""
    files = []
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 4), dtype=np.uint8)
    plain = Image.fromarray(noise)
    deep = Image.fromarray(noise[..., 0].astype(np.uint16) << 8)
    for kind, mode, options in (
        ("JPEG", "RGB", {"exif": _turned()}), ("JPEG", "CMYK", {}), ("JPEG", "L", {}),
        ("JPEG", "RGB", {"progressive": True}), ("PNG", "RGBA", {}), ("PNG", "P", {}),
        ("PNG", "1", {}), ("GIF", "P", {"transparency": 3}), ("BMP", "RGB", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}), ("TIFF", "RGBA", {}), ("WEBP", "RGBA", {}),
        ("PNG", None, {}), ("TIFF", None, {}),
    ):  # fmt: skip
        file = io.BytesIO()
        (deep if mode is None else plain.convert(mode)).save(file, kind, **options)
        files.append(file.getvalue())
    return files


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


@fuzz(2000, content=damaged(*sound_images()))
def test_images(room, content):
    size = None
    with at_most_a_refusal("cat/7.jpg"):
        size = upright_size(content, "cat/7.jpg")
    with at_most_a_refusal("cat/7.jpg"):
        pixels = decode(content, 8, "cat/7.jpg", 8)
        assert pixels.shape == (8, 8, 3) and pixels.dtype == np.uint8
        # A GIF's frame may be smaller than its screen.
        assert size == open_rgb(content, "cat/7.jpg").size


GOOD = ("a/", "a/b.txt", "c/é" + "x" * 120)
HOSTILE = ("a/b.txt", "../../evil", "link@")
"""Names of members; a folder ends in "/", a link in "@"."""


def packed_tar(mode: str, names: tuple[str, ...]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode, format=tarfile.PAX_FORMAT) as opened:
        for name in names:
            member = tarfile.TarInfo(name)
            if name[-1] == "/":
                member.type = tarfile.DIRTYPE
            elif name[-1] == "@":
                member.type, member.linkname = tarfile.SYMTYPE, "../.."
            else:
                member.size = 700
            opened.addfile(member, io.BytesIO(bytes(member.size)))
    return file.getvalue()


def packed_zip(names: tuple[str, ...]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as opened:
        for name in names:
            opened.writestr(name, b"" if name[-1] == "/" else bytes(700))
    return file.getvalue()


MODES = {".tar": "w", ".tgz": "w:gz", ".tar.xz": "w:xz", ".tar.bz2": "w:bz2"}
ARCHIVES = {
    suffix: [packed_tar(mode, names) for names in (GOOD, HOSTILE)] for suffix, mode in MODES.items()
} | {".zip": [packed_zip(GOOD), packed_zip(HOSTILE)]}


@pytest.mark.parametrize("suffix", ARCHIVES)
@fuzz(300, data=st.data())
def test_archives(room, suffix, data):
    path = room / f"archive{suffix}"
    path.write_bytes(data.draw(damaged(*ARCHIVES[suffix])))
    limits = Limits(bytes=50_000, files=20, free_bytes=5_000)
    with at_most_a_refusal(str(path)):
        with unpacked(path, room, limits) as root:
            assert all(entry.is_file() or entry.is_dir() for entry in root.rglob("*"))
    assert list(room.iterdir()) == [path]

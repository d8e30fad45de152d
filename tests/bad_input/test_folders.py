"""A folder of photographs with damaged files, pipes, links that lead out, or too few classes."""

import io
import os
import resource
import struct
import warnings
import zlib

import pytest
from PIL import Image

from gtn_jax.cli.main import main


def bomb(side: int) -> bytes:
    """A PNG of 1 bit a pixel, all black."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    rows = zlib.compressobj(9)
    packed = b"".join(rows.compress(b"\0" * (side // 8 + 1)) for _ in range(side)) + rows.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def jpeg() -> bytes:
    file = io.BytesIO()
    Image.effect_noise((40, 40), 90).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def folder_refuses(train_refuses, photographs, tmp_path):
    """folder_refuses(says): training on `photographs`; files may be prepared, no run begins."""

    def folder_refuses(says):
        prepared = tmp_path / "prepared"
        data = ["--data.name", f"folder:{photographs}", "--data.data_dir", prepared]
        return train_refuses(*data, says=says, writes=[prepared])

    return folder_refuses


def test_bad_files_are_named_once_together(folder_refuses, photographs):
    bad = {
        "cat/cut.jpg": jpeg()[:400],
        "cat/empty.png": b"",
        "dog/page.jpg": b"<!DOCTYPE html><title>404</title>",
        "dog/pointer.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n",
        "dog/bomb.png": bomb(16384),
    }
    for name, content in bad.items():
        (photographs / name).write_bytes(content)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = folder_refuses(["5 unreadable files: cat/cut.jpg: ", "gtn check-data", *bad])
    assert all(error.count(name) == 1 for name in bad)
    # Linux counts in KiB. The bomb would be 268 MB of gray.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


def test_damaged_exif_is_no_reason_to_say_anything(photographs, capsys):
    block = b"Exif\0\0II*\0\x08\0\0\0\x02\0\0\x01"  # ends within its first field
    Image.effect_noise((40, 40), 90).save(photographs / "cat" / "exif.jpg", exif=block)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        assert main(["check-data", str(photographs)]) == 0
    assert "nothing wrong" in capsys.readouterr().out
    assert [str(one.message) for one in warned if "EXIF" in str(one.message)] == []


def test_a_pipe_is_no_photograph(folder_refuses, photographs):
    os.mkfifo(photographs / "cat/pipe.jpg")
    folder_refuses(["1 unreadable files: ", "cat/pipe.jpg", "not a regular file"])


@pytest.mark.parametrize("target", ["/etc", "/etc/hostname", "..", "../dog/nowhere/../../.."])
def test_links_that_lead_out(folder_refuses, photographs, target):
    (photographs / "cat/link.jpg").symlink_to(target)
    folder_refuses(["cat/link.jpg", "link that"])


def test_link_to_itself(folder_refuses, photographs):
    (photographs / "cat/link.jpg").symlink_to("link.jpg")
    folder_refuses("cat/link.jpg: a link that leads back to itself; remove it")


def test_classes(folder_refuses, photographs, tmp_path):
    (photographs / "emu").mkdir()
    folder_refuses("no training image of emu; fill or remove")
    (photographs / "emu").rmdir()
    (photographs / "train").mkdir()
    (photographs / "cat").rename(photographs / "train/cat")
    (photographs / "val").mkdir()
    (photographs / "dog").rename(photographs / "val/dog")
    folder_refuses("class dog of val/ is none of train/'s")
    (photographs / "val").rename(tmp_path / "away")
    folder_refuses("one class only, cat; bring a second one")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("folder:", "data.name: 'folder:' names no folder"),
        ("folder:nowhere", "nowhere is not there; name a folder"),
        ("folder:/dev/null", "folder /dev/null is a file"),
    ],
)
def test_no_folder(train_refuses, name, says):
    train_refuses("--data.name", name, says=says)

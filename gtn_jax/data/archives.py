"""Safe extraction of downloaded .zip and .tar archives (plain, gzip, bzip2 or xz).

Only regular files and directories are extracted, under relative names and within `Limits`;
ownership, permissions and timestamps are ignored.
"""

import bz2
import contextlib
import dataclasses
import errno
import gzip
import lzma
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PureWindowsPath
from typing import IO, Any

from gtn_jax.data.files import relative_name

SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz")
_CHUNK_BYTES = 1 << 20
_PADDING_BYTES = 16 << 20
_BROKEN = (
    tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError,
    NotImplementedError, RuntimeError, UnicodeError, OverflowError,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Limits:
    """Limits on what an archive may extract to."""

    bytes: int = 200 * 2**30  # of all files together
    files: int = 5_000_000  # files and directories
    # Extracted over compressed size, of a zip member and of the archive so far. Images barely
    # compress, so a high ratio is a bomb; up to `free_bytes` it may be a list of names.
    ratio: float = 100.0
    free_bytes: int = 64 * 2**20


def is_archive(path: Path) -> bool:
    """Whether the file name has one of `SUFFIXES`."""
    return path.name.lower().endswith(SUFFIXES)


@contextlib.contextmanager
def unpacked(archive: Path, folder: Path, limits: Limits | None = None) -> Iterator[Path]:
    """Extract into a temporary directory inside `folder`, yield it and remove it on exit.

    Raises:
        ValueError: the archive is corrupt, truncated or above `limits` (default `Limits()`), or a
            member is a link, a device or a path that leads outside; names archive and member.
    """
    limits = limits or Limits()
    with tempfile.TemporaryDirectory(prefix="incomplete.unpacked-", dir=folder) as temporary:
        root = Path(temporary)
        unpack = _unpack_zip if archive.name.lower().endswith(".zip") else _unpack_tar
        try:
            unpack(archive, _Writer(archive, root, limits))
        except (*_BROKEN, OSError) as error:
            # gzip and bz2 raise OSError without errno for corrupt data, zipfile EINVAL for a seek
            # before the start; any other errno, such as a full disk, is not the archive's fault.
            if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
                raise
            reason = str(error) or type(error).__name__
            raise ValueError(f"{archive}: broken or cut short ({reason}); fetch it anew") from error
        yield root


class _Writer:
    """Writes members below `root` while they are within the limits."""

    def __init__(self, archive: Path, root: Path, limits: Limits):
        self.archive, self.root, self._limits = archive, root, limits
        self._room = shutil.disk_usage(root).free
        self.bytes, self._members = 0, 0

    def refuse(self, member: str, reason: str) -> ValueError:
        return ValueError(f"{self.archive}: {member!r}: {reason}")

    def admit(self, member: str, size: int) -> Path:
        """The path for a member of the given declared size."""
        self._members += 1
        if self._members > self._limits.files:
            raise self.refuse(member, f"above the limit of {self._limits.files:,} files")
        if self.bytes + size > self._limits.bytes:
            raise self.refuse(member, f"above the limit of {self._limits.bytes:,} bytes unpacked")
        if self.bytes + size > self._room:
            raise self.refuse(member, f"the disk has room for {self._room:,} bytes only")
        if PureWindowsPath(member).drive or "\\" in member:
            raise self.refuse(member, "a name of another system; it could lead out of the folder")
        return self.root / relative_name(member, str(self.archive))

    def check_ratio(self, member: str, size: int, packed: int) -> None:
        limits = self._limits
        if size > limits.free_bytes and size > limits.ratio * max(packed, 1):
            raise self.refuse(member, f"{size:,} bytes out of {packed:,}; this looks like a bomb")

    def make_folder(self, member: str) -> None:
        with self.clash(member):
            self.admit(member, 0).mkdir(parents=True, exist_ok=True)

    def write(self, member: str, size: int, source: IO[bytes]) -> None:
        """Copy exactly `size` bytes into a new file."""
        path = self.admit(member, size)
        with self.clash(member):
            path.parent.mkdir(parents=True, exist_ok=True)
            target = path.open("xb")
        with target:
            left = size
            while left:
                chunk = source.read(min(left, _CHUNK_BYTES))
                if not chunk:
                    raise EOFError(f"{member!r} ends {left:,} bytes early")
                target.write(chunk)
                left -= len(chunk)
            if source.read(1):
                raise self.refuse(member, "longer than it says; this looks like a bomb")
        self.bytes += size

    @contextlib.contextmanager
    def clash(self, member: str) -> Iterator[None]:
        """Convert errors of the file system about a member's name to ValueError."""
        try:
            yield
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise self.refuse(member, "in the archive twice, or as file and as folder") from error
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            raise self.refuse(member[:80], "a name too long for this disk") from error


def _unpack_zip(archive: Path, writer: _Writer) -> None:
    packed = archive.stat().st_size
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            name, mode = member.filename, member.external_attr >> 16
            relative_name(name, str(archive))
            # Zip tools without Unix permissions leave the file type empty.
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise writer.refuse(name, "a link or a special file; only files are unpacked")
            if member.is_dir():
                writer.make_folder(name)
                continue
            if member.flag_bits & 1:
                raise writer.refuse(name, "encrypted; unpack it yourself")
            writer.check_ratio(name, member.file_size, member.compress_size)
            writer.check_ratio(name, writer.bytes + member.file_size, packed)
            with opened.open(member) as source:
                writer.write(name, member.file_size, source)


def _unpack_tar(archive: Path, writer: _Writer) -> None:
    packed = archive.stat().st_size
    with archive.open("rb") as file, _decompressed(archive, file) as stream:
        bounded: Any = _BoundedStream(stream)
        opened: Any = tarfile.open(fileobj=bounded, mode="r:")
        for member in opened:
            if member.isdir() and member.name in (".", "./"):
                continue  # the root directory itself
            relative_name(member.name, str(archive))
            if not (member.isreg() or member.isdir()) or member.issparse():
                raise writer.refuse(
                    member.name, "a link or a special file; only files are unpacked"
                )
            if hasattr(tarfile, "data_filter"):
                # Python's checks in addition; since Python 3.13 they access the disk:
                # https://docs.python.org/3/library/tarfile.html
                with writer.clash(member.name):
                    tarfile.data_filter(member, str(writer.root))
            if member.isdir():
                writer.make_folder(member.name)
                continue
            writer.check_ratio(member.name, writer.bytes + member.size, packed)
            source = opened.extractfile(member)
            assert source is not None
            writer.write(member.name, member.size, source)
            opened.members.clear()  # tarfile keeps every member, possibly millions
        # tarfile takes a corrupt header for the end of the archive, which is a block of zeros.
        if bounded.last != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError("no end mark")
        # Reading the padding to its end makes gzip and xz verify their checksums.
        for _ in range(_PADDING_BYTES // _CHUNK_BYTES):
            if not bounded.read(_CHUNK_BYTES):
                break


class _BoundedStream:
    """A stream for tarfile that keeps the last block and limits the size of a read."""

    def __init__(self, stream: IO[bytes]):
        self._stream, self.last = stream, b""
        self.seek, self.tell = stream.seek, stream.tell

    def read(self, size: int) -> bytes:
        # A header may declare gigabytes of extension data, which tarfile reads at once.
        if size > _CHUNK_BYTES:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        self.last = self._stream.read(size)
        return self.last


def _decompressed(archive: Path, file: IO[bytes]) -> Any:
    name = archive.name.lower()
    if name.endswith((".tgz", ".gz")):
        return gzip.GzipFile(fileobj=file)
    if name.endswith(".bz2"):
        return bz2.BZ2File(file)
    if name.endswith(".xz"):
        return lzma.LZMAFile(file)
    return contextlib.nullcontext(file)

"""Safe access to files named by downloaded lists and archives.

A name must mean a regular file below the root given by the user.
"""

import os
import stat
from pathlib import Path, PurePosixPath


def relative_name(name: str, where: str) -> str:
    """Normalize a relative name with forward slashes ("a//./b" becomes "a/b").

    `where` locates the name in errors, such as "train.txt:17". ValueError for a name that is
    absolute or empty or contains ".." or NUL.
    """
    pure = PurePosixPath(name)
    if "\0" in name or pure.is_absolute() or ".." in pure.parts or not pure.parts:
        raise ValueError(
            f"{where}: {name!r} is not a valid file name; expected a relative one, "
            "without '..' and NUL"
        )
    return str(pure)


def regular_file(root: Path, name: str, where: str) -> Path | None:
    """The real path of a `relative_name` below a resolved `root`; None if it does not exist.

    ValueError for a link that leads outside `root`, a directory, a pipe or a device.
    """
    real = os.path.realpath(root / name)
    if not Path(real).is_relative_to(root):
        raise ValueError(f"{where}: {name} leads out of {root}, to {real}; copy the file into it")
    try:
        mode = os.stat(real).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise ValueError(f"{where}: {name} cannot be read ({error.strerror})") from error
    if not stat.S_ISREG(mode):
        raise ValueError(f"{where}: {name} is not a regular file; put an image there")
    return Path(real)


def read_regular(path: Path) -> bytes:
    """The content of a regular file; ValueError for a directory, pipe or device."""
    # O_NONBLOCK: opening a pipe without a writer would block.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError(f"{path} is not a regular file; put an image there")
        return file.read()

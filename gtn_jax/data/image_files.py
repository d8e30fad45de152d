"""Paths that a person names -> the image files that they mean.

For predicting and calibrating, where images come without labels. Decoding is decode.py's; labelled
data sets are sources.py's.
"""

import glob
from collections.abc import Iterable
from pathlib import Path

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""What counts as an image inside a folder, in any case. A file that is named counts anyway."""
UNREAD_SUFFIXES = frozenset(
    {".arw", ".avif", ".cr2", ".dng", ".heic", ".heif", ".nef", ".orf", ".raf"}
)
"""Photographs that this package cannot read: a folder with them has fewer images than it seems."""


def image_files(paths: Iterable[Path]) -> tuple[list[Path], list[str]]:
    """Every file that `paths` mean: files as they are, folders with all their images, recursively.

    Args:
        paths: files, folders, and patterns for shells that expand none (`photos/**/*.jpg`); a
            folder's hidden files and folders are left out.

    Returns:
        Files in the order of `paths`, sorted within a folder; and a sentence for every path that
        is not there or holds no image.
    """
    files: list[Path] = []
    problems = []
    for path in paths:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if _is_image(file, path))
            files += found
            if not found:
                problems.append(f"{path}: no image in this folder")
        elif path.is_file():
            files.append(path)
        elif not path.exists() and glob.has_magic(str(path)):
            matching = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
            found = [file for file in matching if file.is_file()]
            files += found
            if not found:
                problems.append(f"{path}: no file has such a name")
        elif path.exists():
            problems.append(f"{path}: neither a file nor a folder; a pipe or device is not read")
        else:
            problems.append(f"{path}: no such file or folder")
    return files, problems


def _is_image(file: Path, folder: Path) -> bool:
    if file.suffix.lower() not in IMAGE_SUFFIXES:
        return False
    is_hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not is_hidden and file.is_file()

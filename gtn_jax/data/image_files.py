"""Paths that a person names -> the image files that they mean.

For predicting and calibrating, where images come without labels. Decoding is decode.py's; labeled
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
        paths: files, folders, and patterns for shells that expand none (`photos/**/*.jpg`), which
            mean all images among the files and in the folders they match, each once; a folder's
            hidden files and folders are left out.

    Returns:
        Files in the order of `paths`, sorted within a folder; and a sentence for every path that
        is not there or holds no image.
    """
    files: list[Path] = []
    problems = []
    for path in paths:
        if path.is_dir():
            found = _images_of(path)
            files += found
            if not found:
                problems.append(f"{path}: no image in this folder")
        elif path.is_file():
            files.append(path)
        elif not path.exists() and glob.has_magic(str(path)):
            matching = [Path(name) for name in sorted(glob.glob(str(path), recursive=True))]
            found = [file for match in matching for file in _images_of(match)]
            files += dict.fromkeys(found)
            if not found:
                problems.append(f"{path}: no image has such a name")
        elif path.exists():
            problems.append(f"{path}: neither a file nor a folder; a pipe or device is not read")
        else:
            problems.append(f"{path}: no such file or folder")
    return files, problems


def _images_of(path: Path) -> list[Path]:
    """A folder's, or that file if it is one."""
    if path.is_dir():
        return sorted(file for file in path.rglob("*") if _is_image(file, path))
    return [path] if _is_image(path, path.parent) else []


def _is_image(file: Path, folder: Path) -> bool:
    if file.suffix.lower() not in IMAGE_SUFFIXES:
        return False
    is_hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return not is_hidden and file.is_file()

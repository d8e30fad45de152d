"""What is known of a split's images without reading them: an .npz file beside the records.

Held-out shares, videos and padding need labels, names and sizes of all images; reading every
record for them would take as long as an epoch. Only our own builders write one.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from gtn_jax.files import write_arrays


class Index(NamedTuple):
    """One row an image, in the order of the records.

    Attributes:
        labels: int B.
        files: str B, names in the source.
        sizes: int B 2, height and width in pixels.
    """

    labels: np.ndarray
    files: np.ndarray
    sizes: np.ndarray


def index_file(folder: Path, split: str) -> Path:
    """Where the index of a split lies in the folder of a data set's version."""
    return folder / f"index-{split}.npz"


def save_index(index: Index, folder: Path, split: str) -> None:
    """Write it."""
    write_arrays(index_file(folder, split), index._asdict())


def load_index(path: Path) -> Index:
    """Read what `save_index` wrote.

    Raises:
        ValueError: it is missing or damaged.
    """
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            return Index(*(arrays[name] for name in Index._fields))
    # A damaged archive raises BadZipFile, zlib.error, EOFError and others.
    except Exception as error:
        # NumPy's words on what is no archive would send people to pickle.
        reason = "no .npz file" if "pickle" in str(error) else error
        raise ValueError(
            f"{path}: not readable ({reason}); remove its folder and prepare the data set again"
        ) from error

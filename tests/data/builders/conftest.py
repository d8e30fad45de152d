"""Small data sets in the layouts of the published ones, lists in their genuine form."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def write_tree(tmp_path):
    """write_tree(files): a folder with these files; None as content makes a JPEG of its own."""

    def write_tree(files: dict[str, str | bytes | None]) -> Path:
        root = tmp_path / "source"
        for number, (name, content) in enumerate(files.items()):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if content is None:
                generator = np.random.default_rng(number)
                pixels = generator.integers(0, 255, (24, 36, 3), np.uint8)
                Image.fromarray(pixels).save(path, "JPEG")
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        return root

    return write_tree


@pytest.fixture
def dtd_tree(write_tree):
    """DTD's layout, one folder down: two classes, three images each, lists of split 1."""
    images = [f"{c}/{c}_000{i}.jpg" for c in ("banded", "zigzagged") for i in (2, 4, 5)]
    lists = {
        "train": "banded/banded_0002.jpg\nzigzagged/zigzagged_0002.jpg\n",
        # Windows' ends of line and an empty one, as lists get that have been edited.
        "val": "banded/banded_0004.jpg\r\nzigzagged/zigzagged_0004.jpg\r\n\r\n",
        "test": "zigzagged/zigzagged_0005.jpg\nbanded/banded_0005.jpg",
    }
    files: dict[str, str | bytes | None] = {f"dtd/images/{name}": None for name in images}
    files |= {f"dtd/labels/{name}1.txt": text for name, text in lists.items()}
    return write_tree(files)

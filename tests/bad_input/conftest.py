"""Small things that are as they should be, for tests that spoil them."""

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def photographs(tmp_path):
    """A folder of two classes, "cat" and "dog", six JPEGs each."""
    generator = np.random.default_rng(0)
    root = tmp_path / "photographs"
    for name in ("cat", "dog"):
        (root / name).mkdir(parents=True)
        for number in range(6):
            pixels = generator.integers(0, 256, (20, 24, 3), np.uint8)
            Image.fromarray(pixels).save(root / name / f"{number}.jpg")
    return root


@pytest.fixture
def train_refuses(cli_refuses, experiment, tmp_path):
    """train_refuses(option, value, ..., says=...): `gtn train`, which leaves no run folder."""

    def train_refuses(*options, **expected):
        workdir = tmp_path / "run"
        return cli_refuses("train", experiment, "--workdir", workdir, *options, **expected)

    return train_refuses

"""docs/first_photos.md, line by line, in an empty directory with a folder of pictures."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gtn_jax.cli.main import main

PAGE = Path(__file__).parent.parent / "docs" / "first_photos.md"
# The page's network is fetched and large; this one comes with the package.
SMALL = """--model.backbone resnet8_wide --model.weights tiny_imagenet --data.image_size 32
    --data.resize_size 36 --data.batch_size 8 --training.epochs 2 --training.freeze_epochs 1"""


def draw(folder: Path, colors: dict[str, tuple[int, int, int]], images: int) -> None:
    rng = np.random.default_rng(0)
    for name, color in colors.items():
        (folder / name).mkdir(parents=True)
        for number in range(images):
            noise = rng.integers(-20, 20, (40, 50, 3))
            pixels = np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.jpg")


@pytest.mark.slow
def test_page(tmp_path, monkeypatch, capsys):
    pytest.importorskip("flatbuffers")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    colors = {"reds": (200, 60, 60), "greens": (60, 200, 60), "blues": (60, 60, 200)}
    draw(tmp_path / "photos", colors, 20)
    draw(tmp_path / "new", colors, 2)
    lines = re.findall(r"^    (gtn .*)$", PAGE.read_text(), re.M)
    assert [shlex.split(line)[1] for line in lines] == [
        *("check-data", "train", "train", "report", "predict", "export")
    ]
    said = {}
    for line in lines:
        words = shlex.split(line)[1:] + (SMALL.split() if " train " in line else [])
        assert main(words) == 0, line
        said[words[0]] = capsys.readouterr().out
    assert "60 images of 3 classes, nothing wrong" in said["check-data"]
    assert "test_accuracy" in said["train"]
    assert Path("runs/photos/report.html").exists() and Path("classifier/predict.py").exists()
    assert said["predict"].count("%") == 6 * 3
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.S | re.M)
    exec(compile(block, PAGE.name, "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 6

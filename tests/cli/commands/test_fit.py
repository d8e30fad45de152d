"""`gtn fit`: what is chosen, and one line from a folder of PNG files to a report."""

import io
import shlex

import numpy as np
import pytest
from PIL import Image

from gtn_jax.cli.commands import RESUMING
from gtn_jax.cli.commands.fit import long_form
from gtn_jax.cli.main import main
from gtn_jax.config import Config
from gtn_jax.config.experiment import load_experiment
from gtn_jax.runs.folder import RunFolder
from gtn_jax.training.recipe import choose
from gtn_jax.weights import hub


def chosen(*arguments) -> tuple:
    config, minutes = choose(Config(), *arguments)
    model, data = config.model, config.data
    return model.backbone, model.weights, data.image_size, data.resize_size, minutes


def test_device_and_number_of_images_choose():
    small, large = "hf:timm/resnet18.tv_in1k", "hf:timm/resnet50.tv_in1k"
    assert chosen(100, True) == ("resnet50", large, 224, 256, None)
    assert chosen(10**6, True)[-1] is None
    assert chosen(2000, False) == ("resnet18", small, 112, 128, None)
    assert chosen(2001, False) == ("resnet18", small, 112, 128, 30.0)
    assert chosen(2001, False, None, 4.0)[-1] == 4.0
    shipped = "tiny_imagenet"
    for is_accelerator in (True, False):
        found = chosen(9999, is_accelerator, shipped)
        assert found == ("resnet8_wide", shipped, 32, 36, None)


def png(seed: int) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def photos(tmp_path):
    """Two classes of 16 photographs, and a file that is none."""
    for number in range(32):
        path = tmp_path / f"my photos/{('ant', 'bee')[number % 2]}/{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    (path.parent / "torn.png").write_bytes(png(0)[:100])
    return tmp_path / "my photos"


def test_one_line_to_a_report(photos, tmp_path, tiny_weights, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "runs/my photos"
    line = [
        "fit", str(photos), "--weights", tiny_weights, "--data.data_dir", str(tmp_path / "kept"),
        "--training.epochs", "1", "--training.freeze_epochs", "0", "--budget-minutes", "9",
    ]  # fmt: skip
    assert main(line) == 0
    said = capsys.readouterr().out
    assert "unreadable: 1\n  bee/torn.png: not a readable image" in said
    assert "skipped  1 unreadable; the others are used" in said
    *_, tests, report, predict = said.splitlines()
    assert "test accuracy" in said and "predict" not in tests
    assert report == "report   runs/my photos/report.html" and (out / "report.html").is_file()
    assert predict == "predict  gtn predict 'runs/my photos' NEW"
    config = RunFolder(out).config()
    assert (config.model.backbone, config.data.image_size) == ("tiny", 32)

    # The same line, and the line that it stands for, find the finished run: nothing differs.
    summary = (out / "summary.json").read_bytes()
    assert main(line) == 0
    assert capsys.readouterr().out.splitlines()[-1] == predict
    (long,) = (text for text in said.splitlines() if text.startswith("same as"))
    assert main(shlex.split(long.removeprefix("same as  gtn"))) == 0
    assert (out / "summary.json").read_bytes() == summary
    assert main([*line, "--seed", "1"]) == 1
    assert "seed: 0 -> 1" in capsys.readouterr().err
    assert "fit" in RESUMING


def test_no_network_and_no_weights(photos, tmp_path, monkeypatch, cli_refuses):
    def fetch(name, pinned):
        raise ValueError(f"hf:{name.repository}: no connection and not in the cache; bring it")

    monkeypatch.setattr(hub, "fetch", fetch)
    monkeypatch.setattr(hub, "is_here", lambda *_: False)
    where = tmp_path / "run"
    said = cli_refuses("fit", str(photos), "--out", str(where), says="no connection")
    assert "--weights tiny_imagenet" in said and not where.exists()


def test_the_long_form_says_what_differs():
    experiment = load_experiment("photos")
    assert long_form(experiment, experiment, "a b", None) == "gtn train photos --workdir 'a b'"

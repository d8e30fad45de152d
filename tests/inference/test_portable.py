"""What `gtn export` writes, used without this package, and read back by it."""

import json
import os
import runpy
import shutil
import subprocess
import sys

import jax
import jax.export
import numpy as np
import pytest
from PIL import Image

from gtn_jax.cli.main import main
from gtn_jax.config import override
from gtn_jax.inference import portable
from gtn_jax.inference.predict import Prediction, predict_files
from gtn_jax.inference.restore import restore

pytest.importorskip("flatbuffers")


@pytest.fixture(scope="module")
def exported(finished_run, tmp_path_factory):
    """What `gtn export` writes, shared: nobody may change it."""
    out = tmp_path_factory.mktemp("exported") / "classifier"
    portable.export_portable(finished_run, out)
    return out


@pytest.fixture
def photos(tmp_path):
    """Wide, high, square, transparent; the wide one lies on its side, as cameras store them."""
    generator, files = np.random.default_rng(0), []
    for number, size in enumerate([(60, 41), (25, 38), (20, 20)]):
        image = Image.fromarray(generator.integers(0, 256, (*size[::-1], 3), np.uint8))
        exif = Image.Exif()
        if number == 0:
            exif[0x0112] = 6
        files.append(tmp_path / f"{number}.png")
        image.save(files[-1], exif=exif)
    files.append(tmp_path / "transparent.png")
    pixels = generator.integers(0, 256, (20, 24, 4), np.uint8)
    Image.fromarray(pixels).save(files[-1])
    return files


def test_folder_without_this_package(finished_run, photos, tmp_path, capsys, cli_refuses):
    out = tmp_path / "classifier"
    assert main(["export", str(finished_run), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert sorted(file.name for file in out.iterdir()) == [
        "README.md", "digests.json", "labels.json", "model.safetensors", "model.stablehlo",
        "predict.py", "preprocessing.json",
    ]  # fmt: skip
    assert f"model.stablehlo: {(out / 'model.stablehlo').stat().st_size:,} bytes" in printed
    expected = list(predict_files(restore(finished_run), photos))

    script = (out / "predict.py").read_text()
    assert "import" in script and "gtn_jax" not in script.split('"""')[2]
    assert len([line for line in script.split('"""')[2].splitlines() if line.strip()]) == 29
    # In a folder of its own, with nothing of ours on the path.
    block = "import sys; sys.modules['gtn_jax'] = None; import runpy; sys.argv = sys.argv[1:]; "
    done = subprocess.run(
        [sys.executable, "-c", f"{block}runpy.run_path(sys.argv[0])", out / "predict.py", *photos],
        capture_output=True, text=True, check=True, cwd=out,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    for line, found in zip(done.stdout.splitlines(), expected, strict=True):
        assert isinstance(found, Prediction)
        file, *answers = line.split("\t")
        assert file == found.file
        for answer, name, probability in zip(
            answers, found.classes, found.probabilities, strict=True
        ):
            said, number = answer.rsplit(" ", 1)
            assert said == name
            assert float(number) == pytest.approx(probability, abs=1e-4)

    cli_refuses("export", str(finished_run), "--out", str(out), says="exists already", writes=[out])


def test_function_is_for_every_platform_and_any_number_of_images(exported):
    written = bytearray((exported / "model.stablehlo").read_bytes())
    found = jax.export.deserialize(written)
    assert found.platforms == ("cpu", "cuda", "tpu")
    for images in (1, 5):
        pixels = np.zeros((images, 20, 20, 3), np.uint8)
        np.testing.assert_allclose(found.call(pixels).sum(axis=1), np.ones(images), rtol=1e-5)


def test_numbers_that_do_not_expire(exported, finished_run, tmp_path):
    model, variables, labels = portable.load_portable(exported)
    run = restore(finished_run)
    assert labels == run.classes and model == run.model
    jax.tree.map(np.testing.assert_array_equal, variables, jax.device_get(run.variables))
    with pytest.raises(ValueError, match="not a folder of `gtn export`"):
        shutil.copy(exported / "model.safetensors", tmp_path)
        portable.load_portable(tmp_path)


def test_one_bit(exported, tmp_path, monkeypatch, capsys):
    """25 flips: each is found by the verb, and by whoever reads the file."""
    folder = shutil.copytree(exported, tmp_path / "copied")
    monkeypatch.setattr(sys, "argv", [str(folder / "predict.py")])

    def predict():
        runpy.run_path(str(folder / "predict.py"))

    predict()  # of no image
    assert main(["checkpoint", "verify", str(folder)]) == 0
    assert capsys.readouterr().out == "files: ok, 6 files\n"
    flips = 0
    for name, places in (
        ("model.safetensors", 7), ("model.stablehlo", 6), ("labels.json", 6),
        ("preprocessing.json", 6), ("digests.json", 6),
    ):  # fmt: skip
        path = folder / name
        sound = path.read_bytes()
        for place in np.linspace(0, len(sound) - 1, places, dtype=int):
            changed = bytearray(sound)
            changed[place] ^= 1 << int(place) % 8
            path.write_bytes(changed)
            assert main(["checkpoint", "verify", str(folder)]) == 1
            assert f"{name} has changed on disk" in "".join(capsys.readouterr())
            if name != "digests.json":
                with pytest.raises(SystemExit) as stopped:
                    predict()
                assert stopped.value.code == (
                    f"error: {path} is missing or has changed; put it back from a copy"
                )
            if name in ("model.safetensors", "labels.json", "digests.json"):
                with pytest.raises(ValueError, match=f"{path} has changed on disk"):
                    portable.load_portable(folder)
            flips += name != "digests.json"
        path.unlink()
        with pytest.raises(SystemExit, match=f"error: {path} is missing"):
            predict()
        assert main(["checkpoint", "verify", str(folder)]) == 1
        path.write_bytes(sound)
        capsys.readouterr()
    assert flips == 25
    with (folder / "README.md").open("a") as card:  # people edit it
        card.write("Trained for the museum.\n")
    predict()
    assert main(["checkpoint", "verify", str(folder)]) == 1
    predict()


def test_card(exported, finished_run):
    card = (exported / "README.md").read_text()
    summary = json.loads((finished_run / "summary.json").read_text())
    assert f"| test | {100 * summary['test_accuracy']:.2f} % | 500 |" in card
    assert "random initialization" in card and jax.__version__ in card
    config = portable._without_paths(
        override(restore(finished_run).config, {
            "data.name": "folder:/home/me/photos", "model.weights": "/home/me/w.safetensors",
        })
    )  # fmt: skip
    assert (config.data.name, config.model.weights) == ("folder:photos", "w.safetensors")
    how = json.loads((exported / "preprocessing.json").read_text())
    assert (how["image_size"], how["resize_size"]) == (20, 20)
    whole = "".join(
        file.read_text() for file in exported.iterdir() if file.suffix in (".md", ".json")
    )
    assert str(finished_run.parent) not in whole


def test_a_function_that_says_something_else_is_not_written(finished_run, tmp_path, monkeypatch):
    honest = portable._exported

    def other(run, variables):
        return honest(run, jax.tree.map(lambda leaf: leaf + 1, variables))

    monkeypatch.setattr(portable, "_exported", other)
    with pytest.raises(ValueError, match="differs from the run by"):
        portable.export_portable(finished_run, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_without_flatbuffers(finished_run, tmp_path, monkeypatch, cli_refuses):
    monkeypatch.setattr(portable.importlib.util, "find_spec", lambda name: None)
    words = ["export", str(finished_run), "--out", str(tmp_path / "out")]
    cli_refuses(*words, says='pip install "gtn_jax[export]"')

"""`gtn predict`: the same numbers as evaluation's way, names, files, and bad ones among them."""

import csv
import dataclasses
import io
import json
import os
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from gtn_jax.cli.main import main
from gtn_jax.config import override
from gtn_jax.data.folder import image_files
from gtn_jax.data.images import View, load
from gtn_jax.data.pipeline import evaluation_batches
from gtn_jax.data.sources import open_splits
from gtn_jax.data.subsets import whole
from gtn_jax.inference.predict import Prediction, predict_files
from gtn_jax.inference.restore import restore


@pytest.fixture
def photos(tmp_path):
    """Five images of several shapes and kinds, one file that is none, one hidden file."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    (folder / "deeper").mkdir(parents=True)
    sizes = {"a.png": (16, 16), "b.jpg": (40, 17), "c.GIF": (9, 30), "deeper/d.bmp": (20, 20)}
    for name, (width, height) in sizes.items():
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"not an image")
    (folder / "notes.txt").write_text("no image")
    (folder / ".hidden.png").write_bytes((folder / "a.png").read_bytes())
    return folder


def test_what_paths_mean(photos, tmp_path):
    files, problems = image_files([photos / "notes.txt", photos, tmp_path / "nowhere"])
    names = [str(file.relative_to(photos)) for file in files]
    assert names == ["notes.txt", "a.png", "b.jpg", "broken.jpg", "c.GIF", "deeper/d.bmp"]
    assert problems == [f"{tmp_path / 'nowhere'}: no such file or folder"]
    files, problems = image_files([photos / "**" / "[ad].*", photos / "*.webp"])
    assert [file.name for file in files] == ["a.png", "d.bmp"]
    assert problems == [f"{photos}/*.webp: no image has such a name"]
    # Folders that match are looked into, what is no image is not, and nothing counts twice.
    everything = ["a.png", "b.jpg", "broken.jpg", "c.GIF", "d.bmp"]
    for pattern in ("*", "**"):
        files, problems = image_files([photos / pattern])
        assert (sorted(file.name for file in files), problems) == (everything, [])
    (tmp_path / "empty").mkdir()
    assert image_files([tmp_path / "empty"])[1] == [
        f"{tmp_path / 'empty'}: no image in this folder"
    ]


def test_probabilities_are_those_of_the_evaluation_images(drawn_run, tiny_config, tmp_path):
    """A data set's own files, predicted, against a forward by hand on evaluation's batches."""
    run = restore(drawn_run)
    split = open_splits("digits", tiny_config.data.data_dir)["test"]
    images = load(whole(split), View.of(tiny_config.data, training=False))
    batch = next(evaluation_batches(images, 8))
    pixels = np.asarray(batch.images, np.float32) / 255
    normalized = (pixels - np.float32([0.4, 0.5, 0.6])) / np.float32([0.2, 0.3, 0.4])
    forward = jax.jit(lambda images: run.model.apply(run.variables, images, False))
    logits = np.asarray(forward(normalized).logits)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)

    files = []
    for number, example in enumerate(split.read(range(8))):
        files.append(tmp_path / f"{number}.png")
        files[-1].write_bytes(example["image"])
    answers = list(predict_files(run, files, topk=10))
    for answer, row in zip(answers, expected, strict=True):
        assert isinstance(answer, Prediction)
        assert answer.classes == tuple(f"digit {label}" for label in np.argsort(-row))
        np.testing.assert_allclose(answer.probabilities, np.sort(row)[::-1], rtol=1e-4)
        assert sum(answer.probabilities) == pytest.approx(1, abs=1e-5)


def test_a_bad_file_changes_no_other_and_batches_do_not_matter(drawn_run, photos):
    run = restore(drawn_run)
    files, _ = image_files([photos])
    together = list(predict_files(run, files, topk=2))
    assert [isinstance(answer, Prediction) for answer in together] == [1, 1, 0, 1, 1]
    broken = photos / "broken.jpg"
    reason = "not a readable image (neither JPEG, PNG, GIF, BMP, TIFF nor WebP)"
    assert together[2].reason == f"{broken}: {reason}"
    for file, answer in zip(files, together, strict=True):
        (alone,) = predict_files(run, [file], topk=2)
        assert alone[:2] == answer[:2]
        if isinstance(alone, Prediction):
            np.testing.assert_allclose(alone.probabilities, answer.probabilities, rtol=1e-4)


def test_more_files_than_a_batch(drawn_run, photos):
    run = restore(drawn_run)
    config = override(run.config, {"data.eval_batch_size": 2})
    files = [photos / "a.png", photos / "b.jpg"] * 5
    run = dataclasses.replace(run, setup=run.setup.with_config(config))
    answers = list(predict_files(run, files, topk=1))
    assert [answer.file for answer in answers] == [str(file) for file in files]
    assert len({answer[1:] for answer in answers[::2]}) == 1


def test_python_in_three_lines(drawn_run, photos):
    import gtn_jax

    with pytest.warns(UserWarning, match="broken.jpg: not a readable image") as warned:
        answers = gtn_jax.predict(str(drawn_run), str(photos), topk=2)
    assert len(warned) == 1 and warned[0].filename == __file__
    names = [os.path.basename(answer.file) for answer in answers]
    assert names == ["a.png", "b.jpg", "c.GIF", "d.bmp"]
    run = gtn_jax.restore(str(drawn_run))
    assert gtn_jax.predict(run, [photos / "a.png"], topk=2)[0].classes == answers[0].classes
    with pytest.raises(ValueError, match="no such run|nowhere"):
        gtn_jax.predict("nowhere", photos)


def test_table_csv_and_json(drawn_run, photos, tmp_path, capsys):
    run, good = str(drawn_run), [str(photos / "a.png"), str(photos / "deeper")]
    assert main(["predict", run, *good, "--topk", "1"]) == 0
    shown = capsys.readouterr().out
    assert "digit" in shown and "%" in shown and "a.png" in shown

    table, tree = tmp_path / "out.csv", tmp_path / "out.json"
    assert main(["predict", run, *good, "--out", str(table)]) == 0
    assert main(["predict", run, *good, "--out", str(tree), "--topk", "99"]) == 0
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    answers = json.loads(tree.read_text())
    assert [row["file"] for row in rows] == [good[0], str(photos / "deeper" / "d.bmp")]
    for row, answer in zip(rows, answers, strict=True):
        assert list(row) == [
            *("file", "class", "probability"),
            *("class_2", "probability_2", "class_3", "probability_3"),
        ]
        assert len(answer["classes"]) == 10  # all there are
        assert [row["class"], row["class_2"], row["class_3"]] == answer["classes"][:3]
        assert float(row["probability_3"]) == pytest.approx(answer["probabilities"][2], abs=1e-6)
    assert sorted(path.suffix for path in tmp_path.glob("*out*")) == [".csv", ".json"]


def test_exit_code_names_the_bad_file_and_keeps_the_rest(drawn_run, photos, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert main(["predict", str(drawn_run), str(photos), "nowhere.png", "--out", str(out)]) == 1
    first, *error = capsys.readouterr().err.splitlines()
    assert first == "device  4 x cpu"
    assert error[0] == "error: nowhere.png: no such file or folder"
    assert error[1].startswith(f"error: {photos / 'broken.jpg'}: not a readable image")
    assert error[2] == "error: 2 of 6 could not be predicted; the others were"
    assert len(error) == 3
    assert len(json.loads(out.read_text())) == 4


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--out", "x.txt"], "--out: x.txt must end in .csv or .json"),
        (["--out", "no/where.csv"], "--out: no: no such folder"),
        (["--out", "photos"], "--out: photos must end in .csv"),
        (["--out", "kept.csv"], "--out: kept.csv exists; name another file, or pass `--overwrite`"),
        (["--topk", "0"], "--topk: 0, expected at least 1"),
    ],
)
def test_refusals(cli_refuses, drawn_run, photos, extra, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "kept.csv").write_text("of another day")
    cli_refuses("predict", drawn_run, photos / "a.png", *extra, says=message, code=2)


def test_nothing_to_predict(cli_refuses, drawn_run, tmp_path):
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe.jpg")
    cli_refuses("predict", drawn_run, says="PATH: none given; name image files", code=2)
    empty = f"error: {tmp_path / 'empty'}: no image in this folder"
    cli_refuses("predict", drawn_run, tmp_path / "empty", says=[empty, "1 of 1 could not be"])
    pipe = f"error: {tmp_path / 'pipe.jpg'}: neither a file nor a folder"
    cli_refuses("predict", drawn_run, tmp_path / "pipe.jpg", "/dev/null", says=[pipe, "2 of 2"])
    cli_refuses("predict", tmp_path / "empty", "a.jpg", says=f"{tmp_path / 'empty'} holds no run")


def test_one_bad_file_of_a_hundred(drawn_run, photos, tmp_path, capsys):
    folder, out = tmp_path / "hundred", tmp_path / "out.json"
    folder.mkdir()
    for number in range(100):
        shutil.copy(photos / "a.png", folder / f"{number:02d}.png")
    (folder / "42.png").write_bytes((photos / "a.png").read_bytes()[:200])
    out.write_text("of another day")
    arguments = ["predict", str(drawn_run), str(folder), "--out", str(out), "--overwrite"]
    assert main(arguments) == 1
    _, *error = capsys.readouterr().err.splitlines()
    assert len(error) == 2
    assert error[0].startswith(f"error: {folder / '42.png'}: not a readable image")
    assert error[1] == "error: 1 of 100 could not be predicted; the others were"
    files = [answer["file"] for answer in json.loads(out.read_text())]
    assert files == [str(folder / f"{number:02d}.png") for number in range(100) if number != 42]


def test_markup_in_a_class_name_is_shown_as_it_is():
    from rich.console import Console

    from gtn_jax.inference.predict import prediction_table

    screen = io.StringIO()
    table = prediction_table([Prediction("[b]x[/b].png", ("[red]",), (0.25,))])
    Console(width=80, file=screen).print(table)
    assert "[red] 25.0 %" in screen.getvalue() and "[b]x[/b].png" in screen.getvalue()

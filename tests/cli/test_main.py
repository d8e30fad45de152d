"""Verbs through `main`: exit codes, one-line errors, and that help costs nothing."""

import dataclasses
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from typing import Annotated

import numpy as np
import pytest
import tyro

from gtn_jax.cli.arguments import fields_called, parse, take_experiment
from gtn_jax.cli.commands.analysis import CompareArguments
from gtn_jax.cli.commands.training import TrainArguments
from gtn_jax.cli.main import VERBS, main
from gtn_jax.config import Config, override
from gtn_jax.config.experiment import load_experiment
from gtn_jax.runs.lock import locked


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["train", "quickstart", "--help"], ["compare", "training_aids", "--help"]],
)
def test_help_imports_no_jax(arguments):
    code = (
        "import sys; from gtn_jax.cli.main import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'jax', 'flax', 'orbax', 'tensorflow_datasets', 'grain'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True)


def test_help_names_every_verb(capsys):
    assert main(["--help"]) == 0
    output = capsys.readouterr().out
    assert all(verb in output for verb in VERBS)
    assert "quickstart" in output.splitlines()[-1]
    assert main([]) == 2


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help(verb, capsys):
    with pytest.raises(SystemExit) as stopped:
        main([verb, "--help"])
    assert stopped.value.code == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["trian"], 2, "unknown command 'trian'; did you mean train?"),
        (["train", "quikstart", "--workdir", "x"], 2, "unknown experiment 'quikstart'"),
        (["evaluate", "nowhere"], 1, "nowhere holds no run"),
        (["prepare", "cub"], 1, "unknown data set 'cub'"),
        (["convert", "nowhere.pth", "x.safetensors"], 1, "nowhere.pth"),
        (["compare", "quickstart", "--workdir", "x", "--methods", "gtm"], 2, "did you mean gtn"),
        (["compare", "quickstart", "--workdir", "x", "--methods"], 2, "--methods: none given"),
        (
            ["compare", "quickstart", "--workdir", "x", "--devices", "99"],
            2,
            "--devices: invalid value 99",
        ),
        (["train", "quickstart", "--workdir", "x", "--dry-run", "--find-lr"], 2, "one at a time"),
    ],
)
def test_errors_are_short(arguments, code, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) <= 3
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--model.gats none", "unknown option '--model.gats'; did you mean --model.gate or"),
        ("--trainin.epochs=3", "unknown option '--trainin.epochs'; did you mean --training.epochs"),
        ("--xyzxyz", "unknown option '--xyzxyz'; all are in `gtn train quickstart --help`"),
        ("epochs 3", "unexpected argument 'epochs'; see `gtn train quickstart --help`"),
        ("--training.epochs", "Missing value for argument '--training.epochs'."),
        ("--model.gate_dropout 1.5", "model.gate_dropout: invalid value 1.5; expected a rate"),
        ("--training.select tset_best", "--training.select: unknown choice 'tset_best'; did you"),
        ("--prest official", "did you mean --preset"),
        (
            "--epocs 3 --xyzxyz=-1 --gats half",
            "unknown options '--epocs' (did you mean --training.",
        ),
        ("--epochs 3 --xyzxyz=-1 --gats half", "'--xyzxyz', '--gats' (did you mean --model.gate"),
        ("--epochs three", "--training.epochs"),
    ],
)
@pytest.mark.parametrize("columns", ["60", "200"])
def test_usage_errors_are_short_too(capsys, monkeypatch, words, message, columns):
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit) as stopped:
        main(["train", "quickstart", "--workdir", "x", *words.split()])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and message in error
    assert len(error.splitlines()) <= 2


@pytest.mark.parametrize(
    ("words", "changed"),
    [
        (["--lr", "0.5"], {"optimizer.learning_rate": 0.5}),
        (["--epochs=7", "--seed", "3"], {"training.epochs": 7, "seed": 3}),
        (
            "--batch-size 9 --image_size=8 --resize-size 9 --gate half --backbone tiny".split(),
            {"data.batch_size": 9, "data.image_size": 8, "data.resize_size": 9,
             "model.gate": "half", "model.backbone": "tiny"},
        ),
        (["--weights", "None", "--boundaries-epochs", "1", "2", "--no-random-flip"],
         {"model.weights": None, "optimizer.boundaries_epochs": (1, 2), "data.random_flip": False}),
        (["--data.random_flip", "--random-shift-pixels", "0"],
         {"data.random_flip": True, "data.random_shift_pixels": 0}),
        (["--random_flip", "auto"], {"data.random_flip": "auto"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", [TrainArguments, CompareArguments])
def test_last_part_of_a_field_is_enough(form, words, changed):
    config = load_experiment("quickstart")
    given = parse(form, "gtn x", ["--workdir", "w", *words], form(config, tyro.MISSING))
    assert given.config == override(config, changed)


def test_options_of_a_verb_come_before_fields():
    """`--weights` of a form that has it itself, and a part that two sections have."""

    @dataclasses.dataclass(frozen=True)
    class Form:
        config: Annotated[Config, tyro.conf.arg(name="")]
        weights: str = "own"

    given = parse(Form, "gtn x", ["--weights", "w", "--gate", "half"], Form(Config()))
    assert (given.weights, given.config.model.weights, given.config.model.gate) == (
        "w",
        None,
        "half",
    )
    options = ["--data.size", "--model.size", "--model.gate"]
    assert fields_called("size", options) == ["--data.size", "--model.size"]
    assert fields_called("gate", options) == ["--model.gate"]
    assert fields_called("odel.gate", options) == []


def test_ambiguous_part_is_refused(capsys):
    @dataclasses.dataclass(frozen=True)
    class Subset:
        size: int = 0

    @dataclasses.dataclass(frozen=True)
    class Form:
        one: Subset = dataclasses.field(default_factory=Subset)
        two: Subset = dataclasses.field(default_factory=Subset)

    with pytest.raises(SystemExit) as stopped:
        parse(Form, "gtn x", ["--size", "3"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err == "error: --size could be --one.size or --two.size; say which\n"


def test_folder_behind_the_experiment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    assert take_experiment(["photos", "pictures", "--lr", "1"], "gtn train photos --workdir w") == (
        "photos", ["--data.name", "folder:pictures", "--lr", "1"],
    )  # fmt: skip
    words = ["photos", "nowhere"]
    assert take_experiment(words, "gtn train photos --workdir w") == ("photos", ["nowhere"])


def test_missing_folder_of_a_run_and_folder_for_an_experiment(capsys, tmp_path):
    with pytest.raises(SystemExit) as stopped:
        main(["train", "photos", "--xyzxyz", "--lr", "1", "--epocs=3"])
    assert stopped.value.code == 2
    first, second, third = capsys.readouterr().err.splitlines()
    assert first.startswith("error: --workdir is missing, e.g. --workdir runs/first (Run folder: ")
    assert second.startswith(
        "unknown options '--xyzxyz', '--epocs' (did you mean --training.epochs"
    )
    assert third == "see `gtn train photos --help`"
    assert main(["train", str(tmp_path), "--workdir", "x"]) == 2
    assert f"e.g. `gtn train photos {tmp_path} --workdir" in capsys.readouterr().err


def test_debug_shows_the_traceback():
    with pytest.raises(ValueError, match="holds no run"):
        main(["evaluate", "nowhere", "--debug"])


def test_train_then_evaluate_then_refuse(experiment, tmp_path, capsys):
    workdir = str(tmp_path / "run")
    train = ["train", experiment, "--workdir", workdir, "--seed", "3"]
    with locked(tmp_path / "run"):  # by another trainer
        assert main(train) == 1
        error = capsys.readouterr().err
        assert f"{workdir} is in use by pid {os.getpid()} on host {socket.gethostname()}" in error
        assert len(error.splitlines()) <= 3
    assert main(train) == 0
    said = capsys.readouterr()
    assert '"test_images": 500' in said.out
    in_words = re.fullmatch(
        r"test accuracy [\d.]+ % \((\d+) of 500; 95 %: .* to .*\)", said.err.splitlines()[-18]
    )
    assert in_words and said.err.splitlines()[-6] == "most confused:"
    # A finished run: its summary again, at once.
    started = time.monotonic()
    assert main(train) == 0
    assert time.monotonic() - started < 2
    summary = json.loads(capsys.readouterr().out)

    assert main([*train, "--profile", "2:3"]) == 0
    note, *words = capsys.readouterr().err.splitlines()
    assert note == "note    --profile: no training step ran"
    assert words == said.err.splitlines()[-18:]

    # Readers are not asked for the lock, and leave a save in flight alone.
    unfinished = tmp_path / "run" / "checkpoints" / "7.saving"
    unfinished.mkdir()
    with locked(tmp_path / "run"):
        assert main(["evaluate", workdir]) == 0
        answer = capsys.readouterr()
        assert main(train) == 0  # its summary
        assert json.loads(capsys.readouterr().out) == summary
    assert unfinished.is_dir()
    assert answer.err.splitlines()[0] == "device  4 x cpu"
    assert answer.err.splitlines()[1:] == words
    evaluated = json.loads(answer.out)
    assert int(in_words[1]) == round(500 * evaluated["accuracy"])
    assert evaluated["accuracy"] == summary["test_accuracy"]
    assert evaluated["loss"] == pytest.approx(summary["test_loss"], rel=1e-6)
    assert main(["evaluate", workdir, "--split", "tset"]) == 2
    assert "test, train, validation" in capsys.readouterr().err

    # Words about a finished run are beside the point where a file of them is damaged.
    (tmp_path / "run" / "predictions.npz").write_bytes(b"")
    assert main(train) == 0
    assert "predictions.npz" in capsys.readouterr().err

    assert main(["train", experiment, "--workdir", workdir, "--seed", "4"]) == 1
    error = capsys.readouterr().err
    assert "seed: 3 -> 4" in error
    assert len(error.splitlines()) <= 3


@pytest.mark.slow
def test_run_becomes_weights_for_another(experiment, tmp_path, capsys):
    """`gtn convert RUN FILE`, then the same accuracy from the file, backbone and classifier
    loaded."""
    from gtn_jax.weights.read import read_safetensors

    workdir, weights = str(tmp_path / "run"), tmp_path / "weights.safetensors"
    plain = ["--model.gate", "none", "--model.aux_weight", "0"]
    assert main(["train", experiment, "--workdir", workdir, *plain]) == 0
    assert main(["convert", workdir, str(weights), "--precision", "float16"]) == 0
    assert main(["convert", workdir, str(weights)]) == 1
    assert "exists" in capsys.readouterr().err
    tensors = read_safetensors(weights)
    assert tensors["conv1.weight"].shape == (8, 3, 3, 3)
    assert tensors["fc.weight"].shape == (10, 16)
    # Training on from the file, at next to no rate, ends with the same kernels, rounded.
    loaded = ["--model.weights", str(weights), "--model.load_heads"]
    still = ["--optimizer.learning_rate", "1e-12"]
    again = str(tmp_path / "again")
    assert main(["train", experiment, "--workdir", again, *plain, *loaded, *still]) == 0
    second = tmp_path / "second.safetensors"
    assert main(["convert", again, str(second), "--precision", "float16"]) == 0
    for name, tensor in read_safetensors(second).items():
        if tensor.ndim > 1:
            np.testing.assert_array_equal(tensor, tensors[name])


def test_truncated_checkpoint_is_named(finished_run, tmp_path, capsys):
    workdir = tmp_path / "run"
    shutil.copytree(finished_run, workdir)
    for path in (workdir / "checkpoints" / "5").rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[:3])
    assert main(["evaluate", str(workdir)]) == 1
    error = capsys.readouterr().err
    assert "run/checkpoints" in error
    assert len(error.splitlines()) <= 3


def test_second_comparison_is_refused(tmp_path, capsys):
    compare = ["compare", "quickstart", "--workdir", str(tmp_path / "c"), "--methods", "finetune"]
    with locked(tmp_path / "c"):
        assert main(compare) == 1
    assert "is in use by pid" in capsys.readouterr().err
    assert not (tmp_path / "c").exists()  # nothing was written


@pytest.mark.parametrize(("verb", "words"), [("train", "resume"), ("predict", "start over")])
def test_ctrl_c_tells_how_to_go_on(monkeypatch, capsys, verb, words):
    monkeypatch.setitem(VERBS, verb, lambda _: os.kill(os.getpid(), signal.SIGINT))
    assert main([verb, "a b.py", "--workdir", "c"]) == 130
    assert capsys.readouterr().err == (
        f"interrupted by SIGINT\n{words}: gtn {verb} 'a b.py' --workdir c\n"
    )


def test_prepare_says_what_it_stored(tmp_path, capsys):
    data_dir = str(tmp_path / "data")
    assert main(["prepare", "digits", "--data-dir", data_dir]) == 0
    captured = capsys.readouterr()
    assert captured.out == f"digits: test 500, validation 300, train 997 images in {data_dir}\n"
    assert captured.err == ""
    (tmp_path / "dtd").mkdir()
    arguments = ["prepare", "dtd/1", "--data-dir", data_dir, "--short-side", "64"]
    assert main(arguments) == 1
    assert "`gtn prepare dtd/1 --source PATH --data-dir" in capsys.readouterr().err
    assert main([*arguments, "--source", str(tmp_path / "dtd"), "--allow-partial"]) == 1
    assert "holds images, labels/train1.txt together" in capsys.readouterr().err

"""Fields, options, devices and memory that end a command, and errors that nobody foresaw."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from gtn_jax.cli.main import VERBS, main


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--data.batch_size", 10, ["data.batch_size: 10 images", "nearest: 8 or 12"]),
        ("--data.batch_size", 3, ["data.batch_size: 3 images", "nearest: 4"]),
        ("--data.name", "digit", "unknown data set 'digit'; did you mean digits"),
        ("--data.name", "digits/1", "data set 'digits/1': digits has no variants"),
        ("--data.name", "dtd", "'dtd' comes in variants; say for example dtd/1"),
        ("--model.backbone", "resnet5", "unknown backbone 'resnet5'; did you mean resnet"),
        ("--model.gate", "sigmoyd", "unknown gate 'sigmoyd'; did you mean sigmoid"),
        ("--model.weights", "nowhere.safetensors", "nowhere.safetensors: no such weights file"),
    ],
)
def test_fields(train_refuses, option, value, says):
    train_refuses(option, value, says=says)


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--data.batch_sise", "8", "--data.batch_size"),
        ("--preset", "oficial", "unknown preset 'oficial'; did you mean official?"),
        ("--data.batch_size", "many", "data.batch_size"),
        ("--data.batch_size", "-8", "data.batch_size: invalid value -8; expected at least 1"),
        ("--data.batch_size", "", "data.batch_size"),
        ("--training.epochs", "1e9", "training.epochs"),
        ("--optimizer.learning_rate", "nan", "optimizer.learning_rate: invalid value nan"),
        ("--seed", str(2**32), "seed: invalid value 4294967296"),
    ],
)
def test_usage(train_refuses, option, value, says):
    train_refuses(option, value, says=says, code=2)


def test_fewer_images_than_devices(train_refuses, photographs, tmp_path):
    for path in photographs.rglob("*.jpg"):
        if path.name != "0.jpg" and path.parts[-2:] != ("dog", "1.jpg"):
            path.unlink()
    data = ["--data.name", f"folder:{photographs}", "--data.data_dir", tmp_path / "prepared"]
    shares = ["--data.test_fraction", 0, "--training.select", "last"]
    says = "data.name: 2 training images for 4 devices; bring more"
    train_refuses(*data, *shares, says=says, writes=[tmp_path / "prepared"])


@pytest.mark.parametrize("error", [AssertionError(), RuntimeError("Unable to initialize 'tpu'")])
@pytest.mark.parametrize("verb", ["train", "compare"])
def test_asked_for_devices_that_are_not_there(
    cli_refuses, experiment, tmp_path, monkeypatch, verb, error
):
    def devices():
        raise error

    monkeypatch.setattr(jax, "devices", devices)
    cli_refuses(verb, experiment, "--workdir", tmp_path / "run", says="JAX_PLATFORMS: cpu: ",
                writes=[tmp_path / "run"] if verb == "compare" else [])  # fmt: skip


def test_asked_for_gpu_that_is_not_there(tmp_path):
    """JAX's own answer, in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-m", "gtn_jax", "train", "quickstart", "--workdir", tmp_path / "run"],
        env={"JAX_PLATFORMS": "cuda", "CUDA_VISIBLE_DEVICES": "", "HOME": str(tmp_path / "home"),
             "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert result.returncode == 1
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("error: JAX_PLATFORMS: cuda: ")
    assert not (tmp_path / "run").exists()


def test_out_of_memory(cli_refuses, monkeypatch):
    """JAX's genuine error, and Python's."""
    monkeypatch.setitem(VERBS, "train", lambda arguments: jnp.zeros(2**45))
    says = ["out of memory on the device (RESOURCE_EXHAUSTED: ", "make data.batch_size"]
    cli_refuses("train", says=says)
    monkeypatch.setitem(VERBS, "train", lambda arguments: bytes(2**62))
    cli_refuses("train", says="error: out of memory on this machine (MemoryError)")


def test_what_nobody_foresaw(cli_refuses, monkeypatch):
    monkeypatch.setitem(VERBS, "train", lambda arguments: {}["no such key"])
    says = ["unexpected KeyError: 'no such key'", "--debug shows where it is; please report"]
    cli_refuses("train", says=says)
    with pytest.raises(KeyError):
        main(["train", "--debug"])


def test_a_long_message_is_cut(cli_refuses, monkeypatch):
    def fail(arguments):
        raise ValueError("first\n\n" + "word " * 1000 + "\nthird\nfourth")

    monkeypatch.setitem(VERBS, "train", fail)
    assert "fourth" not in cli_refuses("train", says=["error: first\nword", "\nthird\n"])

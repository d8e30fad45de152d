"""A dry run says what the run then does, and leaves nothing behind."""

import re
import shutil

import numpy as np
import pytest
from safetensors.numpy import save_file

from gtn_jax.cli.main import main
from gtn_jax.config import override
from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.runs.folder import RunFolder
from gtn_jax.training import loop
from gtn_jax.training.dry_run import dry_run
from gtn_jax.weights import hub
from gtn_jax.weights.keymaps import to_torchvision
from gtn_jax.weights.registry import ASSETS


def numbers(line: str) -> list[float]:
    return [float(found.replace(",", "")) for found in re.findall(r"[\d,]*\d(?:\.\d+)?", line)]


@pytest.fixture
def told(tiny_config, tmp_path):
    found = {}
    for line in dry_run(tiny_config, tmp_path / "run", devices=2):
        topic, _, text = line.partition(" ")
        found[topic] = text.strip()
    assert not list(tmp_path.iterdir())
    return found


def test_it_is_what_the_run_does(told, tiny_config, tmp_path):
    summary = loop.run(tiny_config, tmp_path / "run", quiet=True, devices=2)
    assert told["device"] == "2 x cpu"
    assert numbers(told["steps"]) == [5, 4, summary["steps"], 5, 4]
    assert numbers(told["model"]) == [summary["parameters"], summary["trained_parameters"]]
    assert "train 40, validation 300, test 500 images" in told["data"]
    assert told["batch"].startswith(
        "images uint8[8,16,16,3], labels int32[8], logits float32[8,10]"
    )
    assert told["weights"] == "none: the backbone starts at random"
    loss, compile_seconds, step_seconds = numbers(told["step"])
    assert 1 < loss < 10 and compile_seconds > step_seconds
    files = (tmp_path / "run/checkpoints/20").rglob("*")
    saved = sum(file.stat().st_size for file in files if file.is_file())
    said = numbers(told["writes"].partition("about")[2])[0] * 2**20
    # Besides the arrays an Orbax checkpoint has its descriptions.
    assert said < saved < said + 200_000
    step, state, images = numbers(told["memory"])
    assert step > state and images == pytest.approx(40 * 16 * 16 * 3 / 2**20, abs=0.05)


def test_weights_that_are_not_there_are_missed_before_anything_is_compiled(
    tiny_config, tmp_path, monkeypatch
):
    monkeypatch.setattr("gtn_jax.training.setup.build_programs", lambda *_: pytest.fail("compiled"))
    config = override(tiny_config, {"model.weights": "nowhere.safetensors"})
    with pytest.raises(ValueError, match="nowhere.safetensors"):
        list(dry_run(config, tmp_path / "run"))


@pytest.fixture(scope="module")
def backbone(tiny_backbone) -> dict[str, np.ndarray]:
    """Tensors of a backbone of the experiment's kind, under torchvision's names."""
    return to_torchvision(init_variables(GTN(tiny_backbone, 10), seed=5))


def test_weights_are_read_as_training_reads_them(
    experiment, backbone, tmp_path, monkeypatch, cli_refuses
):
    """What is loaded is what is in the file; each file that training refuses is refused."""
    path, shallow, asset = (tmp_path / f"{name}.safetensors" for name in ("a", "b", "c"))
    save_file(backbone, path)
    save_file({k: tensor for k, tensor in backbone.items() if not k.startswith("layer2.")}, shallow)
    shutil.copy(ASSETS / "tiny_imagenet.safetensors", asset)
    words = ["train", experiment, "--workdir", str(tmp_path / "x"), "--model.weights"]
    refused = {
        shallow: "tensors do not fit the model",
        asset: f"weights {asset} are of resnet8_wide, the model is tiny",
        tmp_path / "d.safetensors": "not a sound safetensors file",
    }
    (tmp_path / "d.safetensors").write_bytes(path.read_bytes()[:-1])
    for file, says in refused.items():
        said = cli_refuses(*words, str(file), "--dry-run", says=says)
        assert cli_refuses(*words, str(file), says=says) == said

    def stop(config, programs, variables):
        kernel = variables["params"]["backbone"]["conv1"]["kernel"]
        np.testing.assert_array_equal(kernel, backbone["conv1.weight"].transpose(2, 3, 1, 0))
        raise ValueError("seen")

    monkeypatch.setattr("gtn_jax.training.setup.initial_state", stop)
    cli_refuses(*words, str(path), "--dry-run", says="seen")


def test_what_is_there_already_changes_what_would_be_done(finished_run, tmp_path):
    config = RunFolder(finished_run).config()
    said = list(dry_run(config, finished_run, devices=1))
    assert "before  the run is finished: nothing would be done, and its summary printed" in said
    copied = tmp_path / "run"
    shutil.copytree(finished_run, copied)
    (copied / "summary.json").unlink()
    newest = max(int(path.name) for path in (copied / "checkpoints").iterdir())
    said = list(dry_run(config, copied, devices=1))
    assert f"before  it would go on after step {newest}" in said


def test_frozen_all_along_and_whole_images(tiny_config, tmp_path):
    config = override(
        tiny_config,
        {
            "training.freeze_epochs": 4, "data.random_resized_crop": True,
            "data.random_shift_pixels": 0, "data.resize_size": 20,
        },
    )  # fmt: skip
    lines = list(dry_run(config, tmp_path / "run"))
    batch = next(line for line in lines if line.startswith("batch"))
    assert "uint8[8,20,20,3]" in batch
    model = numbers(next(line for line in lines if line.startswith("model")))
    assert model[1] < model[0] / 2


def test_what_would_end_the_run_ends_the_dry_run(experiment, tmp_path, cli_refuses):
    words = ["train", experiment, "--workdir", str(tmp_path / "x"), "--dry-run"]
    cli_refuses(*words, "--data.batch_size", "7", says="data.batch_size")
    cli_refuses(*words, "--model.weights", "nowhere.safetensors", says="nowhere.safetensors")
    cli_refuses(*words, "--data.name", "dtd/1", says="gtn prepare dtd/1")


def test_verb(experiment, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "LOCAL", tmp_path / "brought")
    before = sorted(tmp_path.iterdir())
    words = ["train", experiment, "--workdir", str(tmp_path / "x"), "--dry-run"]
    weights = ["--model.weights", "hf:timm/resnet18.tv_in1k"]
    assert main([*words, *weights]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0] == "device  4 x cpu"
    assert "hf:timm/resnet18.tv_in1k, not looked at: fetched when training starts" in printed
    last = "nothing was trained, and nothing written into the run folder"
    assert printed.splitlines()[-1] == last
    assert sorted(tmp_path.iterdir()) == before

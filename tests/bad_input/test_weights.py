"""Files that hold no weights, or another model's; refused before there is a run."""

import pickle

import numpy as np
import pytest
from safetensors.numpy import save, save_file

from gtn_jax.models.gtn import GTN, init_variables
from gtn_jax.weights.keymaps import to_torchvision

STEM, NORM = "conv1.weight", "bn1.running_var"


@pytest.fixture(scope="module")
def tensors(tiny_backbone) -> dict[str, np.ndarray]:
    """Of the backbone that the experiment trains, under torchvision's names."""
    return to_torchvision(init_variables(GTN(tiny_backbone, 10), seed=0))


def without(tensors, name):
    return {key: tensor for key, tensor in tensors.items() if key != name}


SPOILED = {
    "missing": (
        lambda t: without(t, STEM),
        ["1 tensors do not fit", "conv1.kernel: expected (8, 3, 3, 3), found nothing"],
    ),
    "extra": (
        lambda t: t | {"bn9.weight": np.ones(3, np.float32)},
        ["1 tensors do not fit", "bn9.weight: expected no such tensor, found (3,)"],
    ),
    "transposed": (
        lambda t: t | {STEM: np.ascontiguousarray(t[STEM].transpose(2, 3, 1, 0))},
        f"{STEM}: expected (8, 3, 3, 3), found (3, 3, 3, 8)",
    ),
    "whole numbers": (
        lambda t: t | {STEM: t[STEM].astype(np.int8)},
        f"{STEM}: expected floats, found int8",
    ),
    "not finite": (
        lambda t: t | {STEM: np.where(t[STEM] > 0, np.float32("nan"), t[STEM])},
        f"{STEM}: expected finite values, found ",
    ),
    "only zeros": (
        lambda t: t | {STEM: np.zeros_like(t[STEM])},
        f"{STEM}: expected trained values, found only zeros",
    ),
    "negative variance": (
        lambda t: t | {NORM: np.full_like(t[NORM], -1)},
        f"{NORM}: expected variances, found -1",
    ),
    "other names": (
        lambda t: {f"x.{key}": tensor for key, tensor in t.items()},
        "these are not the names of a ResNet that is known here: x.",
    ),
}


@pytest.mark.parametrize("kind", SPOILED)
def test_tensors_that_do_not_fit(train_refuses, tensors, tmp_path, kind):
    spoil, says = SPOILED[kind]
    path = tmp_path / "weights.safetensors"
    save_file(spoil(tensors), path)
    says = [says] if isinstance(says, str) else says
    train_refuses("--model.weights", path, says=[str(path), *says])


def test_another_depth_is_named(train_refuses, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(to_torchvision(init_variables(GTN("resnet20", 10), seed=0)), path)
    says = [str(path), "tensors do not fit the model", "The file looks like resnet20: check"]
    train_refuses("--model.weights", path, says=says)


@pytest.mark.parametrize(
    ("file", "content", "says"),
    [
        ("a.safetensors", b"", "an empty file; fetch it again"),
        ("a.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        ("a.safetensors", b"<!doctype html>", "a web page, not weights"),
        ("a.safetensors", pickle.dumps({STEM: [0.0]}), "a PyTorch file (pickle) under the name"),
        ("a.safetensors", save({"a": np.ones(9, np.float32)})[:-1], "not a sound safetensors file"),
        ("a.safetensors", b"\xff" * 8 + b"{}", "not a sound safetensors file"),
        ("a.pth", pickle.dumps({STEM: [0.0]}), "a PyTorch file, weights are read from .safetens"),
        ("folder.safetensors", None, "a folder; name the weights file inside it"),
    ],
)
def test_files_that_are_no_weights(train_refuses, tmp_path, file, content, says):
    path = tmp_path / file
    path.mkdir() if content is None else path.write_bytes(content)
    train_refuses("--model.weights", path, says=f"{path}: {says}")


def test_a_pickle_that_would_run_code(cli_refuses, tmp_path):
    """`gtn convert` is the only command that opens one, and PyTorch's safe reader refuses it."""
    pytest.importorskip("torch")
    witness = tmp_path / "witness"

    class Evil:
        def __reduce__(self):
            return open, (str(witness), "w")

    path = tmp_path / "evil.pth"
    path.write_bytes(pickle.dumps({STEM: Evil()}))
    says = [str(path), "torch.load(weights_only=True) refuses it"]
    cli_refuses("convert", path, tmp_path / "out.safetensors", says=says)
    assert not witness.exists()

"""`gtn convert` below the command line."""

import errno
import os

import numpy as np
import pytest

from gtn_jax.weights.convert import convert
from gtn_jax.weights.read import read_safetensors

torch = pytest.importorskip("torch")


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint as training scripts write it."""
    state = {
        "module.conv1.weight": torch.arange(12.0).reshape(2, 2, 1, 3).transpose(0, 1),
        "module.bn1.num_batches_tracked": torch.tensor(7),
        "module.fc.weight": torch.ones(3, 2).half(),
    }
    path = tmp_path / "model.pth"
    torch.save({"epoch": 1, "state_dict": state}, path)
    return path


def test_convert(checkpoint, tmp_path):
    result = convert(checkpoint, tmp_path / "out.safetensors")
    assert result.path == tmp_path / "out.safetensors" and result.tensors == 2
    assert result.dropped == ("module.bn1.num_batches_tracked",)
    assert len(result.notes) == 1 and "1 tensors of float16 widened" in result.notes[0]
    found = read_safetensors(result.path)
    assert sorted(found) == ["conv1.weight", "fc.weight"]
    expected = np.arange(12.0).reshape(2, 2, 1, 3).transpose(1, 0, 2, 3)
    np.testing.assert_array_equal(found["conv1.weight"], expected)
    assert found["fc.weight"].dtype == np.float32
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.pth", "out.safetensors"]


def test_refusals(checkpoint, tmp_path):
    there = tmp_path / "there.safetensors"
    there.write_bytes(b"precious")
    with pytest.raises(ValueError, match="exists already; remove it"):
        convert(checkpoint, there)
    assert there.read_bytes() == b"precious"
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        convert(checkpoint, tmp_path / "out.npz")
    with pytest.raises(ValueError, match="no such folder"):
        convert(checkpoint, tmp_path / "nowhere" / "out.safetensors")
    with pytest.raises(ValueError, match="expected a PyTorch file"):
        convert(there, tmp_path / "out.safetensors")
    with pytest.raises(ValueError, match="no such weights file"):
        convert(tmp_path / "nothing.pth", tmp_path / "out.safetensors")
    torch.save({"module.a": torch.ones(1), "a": torch.ones(1)}, checkpoint)
    with pytest.raises(ValueError, match=r"with and without 'module\.'"):
        convert(checkpoint, tmp_path / "out.safetensors")


def test_a_failed_write_leaves_nothing(checkpoint, tmp_path, monkeypatch):
    def refuse(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(ValueError, match=r"out.safetensors: could not be written \(No space"):
        convert(checkpoint, tmp_path / "out.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["model.pth"]

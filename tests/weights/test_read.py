"""Files: every dtype, and one clear sentence for everything that is not a weights file."""

import sys
import types

import numpy as np
import pytest
from safetensors.numpy import save_file

from gtn_jax.weights import read


def test_round_trip(tmp_path):
    tensors = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "n": np.array(3, np.int64)}
    save_file(tensors, tmp_path / "a.safetensors")
    found = read.read_safetensors(tmp_path / "a.safetensors")
    assert sorted(found) == ["a", "n"] and found["n"].shape == ()
    np.testing.assert_array_equal(found["a"], tensors["a"])
    found["a"][0, 0] = 5  # an array of its own, not a view of a read-only buffer


def test_halves_become_float32(tmp_path):
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch

    values = torch.tensor([1.5, -0.25])
    path = tmp_path / "half.safetensors"
    save_torch({"b": values.bfloat16(), "h": values.half(), "d": values.double()}, path)
    notes = []
    found = read.read_safetensors(path, notes.append)
    assert notes == [f"{path}: 2 tensors of bfloat16 and float16 widened to float32"]
    assert found["b"].dtype == found["h"].dtype == np.float32
    assert found["d"].dtype == np.float64
    for array in found.values():
        np.testing.assert_array_equal(array, [1.5, -0.25])
    save_torch({"f": values.to(torch.float8_e4m3fn)}, path)
    with pytest.raises(ValueError, match="f is F8_E4M3; save it as float32"):
        read.read_safetensors(path)


def test_missing_folder_and_pytorch_file(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.safetensors: no such weights file"):
        read.read_safetensors(tmp_path / "nothing.safetensors")
    with pytest.raises(ValueError, match="a folder; name the weights file inside it"):
        read.read_safetensors(tmp_path)
    (tmp_path / "a.pth").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"run: gtn convert .*a\.pth .*a\.safetensors"):
        read.read_safetensors(tmp_path / "a.pth")


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 11155768\n"
KINDS = [
    (b"", "an empty file; fetch it again"),
    (LFS, "a Git LFS pointer, not the weights; run `git lfs pull`"),
    (b"<html>not found</html>", "a web page, not weights; download the file by its direct link"),
    (b"\xef\xbb\xbf\n<!DOCTYPE html>\n<html>", "a web page, not weights"),
    (b'<?xml version="1.0"?><Error>', "a web page, not weights"),
    (b"\x80\x02}q\x00.", r"a PyTorch file \(pickle\) under the name of a safetensors file"),
    (b"PK\x03\x04 and so on", "a PyTorch file"),
    (b"neither of them", "not a sound safetensors file"),
]


@pytest.mark.parametrize(("content", "expected"), KINDS)
def test_not_safetensors(tmp_path, content, expected):
    path = tmp_path / "a.safetensors"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.safetensors: {expected}") as caught:
        read.read_safetensors(path)
    assert len(str(caught.value).splitlines()) <= 3


@pytest.mark.parametrize(("content", "expected"), KINDS[:4])
def test_not_a_pytorch_file(tmp_path, content, expected):
    """Before torch is asked for, which would speak of an invalid load key."""
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.pth: {expected}"):
        read.read_pickle(tmp_path / "a.pth")


def test_real_pickle_under_a_false_name(tmp_path):
    torch = pytest.importorskip("torch")
    path = tmp_path / "a.safetensors"
    for zipped in (True, False):
        torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(ValueError, match=r"run: gtn convert .*a\.pth .*a\.safetensors"):
            read.read_safetensors(path)


def test_a_sound_file_is_never_taken_for_another_kind(tmp_path):
    """A header of 0x0280 or 0x4b50 bytes starts like a pickle or a zip archive."""
    values = np.ones(3, np.float32)
    for start, size in ((b"\x80\x02", 0x0280), (b"PK", 0x4B50)):
        path = tmp_path / "a.safetensors"
        header = '{"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}'.ljust(size).encode()
        path.write_bytes(size.to_bytes(8, "little") + header + values.tobytes())
        assert path.read_bytes().startswith(start)
        np.testing.assert_array_equal(read.read_safetensors(path)["a"], values)


def test_truncated(tmp_path):
    path = tmp_path / "a.safetensors"
    save_file({"a": np.ones(100, np.float32)}, path)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ValueError, match="not a sound safetensors file"):
        read.read_safetensors(path)


def test_pickle_bare_and_wrapped(tmp_path):
    torch = pytest.importorskip("torch")
    state = {"a": torch.ones(2, 3).t(), "n": torch.tensor(3), "b": torch.ones(2).bfloat16()}
    torch.save(state, tmp_path / "bare.pth")
    torch.save({"epoch": 3, "state_dict": state, "best_pred": 4.5}, tmp_path / "wrapped.pth")
    for name in ("bare.pth", "wrapped.pth"):
        notes = []
        found = read.read_pickle(tmp_path / name, notes.append)
        assert notes == [f"{tmp_path / name}: 1 tensors of bfloat16 widened to float32"]
        assert {key: array.shape for key, array in found.items()} == {
            "a": (3, 2),
            "n": (),
            "b": (2,),
        }
        assert found["a"].flags.c_contiguous and found["b"].dtype == np.float32


class Harmful:
    """A pickle that would run code."""

    def __reduce__(self):
        """Print, as a stand-in for worse."""
        return print, ("code ran",)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"a": Harmful()}, "refuses it"),
        ([1, 2], "holds a list, expected a state dict"),
        ({}, "holds a dict, expected a state dict"),
        ({"epoch": 3, "lr": 0.1}, r"2 entries are not tensors \(epoch, lr\)"),
    ],
)
def test_pickles_that_are_no_state_dict(tmp_path, content, expected, capsys):
    torch = pytest.importorskip("torch")
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=expected) as caught:
        read.read_pickle(tmp_path / "a.pth")
    assert len(str(caught.value).splitlines()) <= 3
    assert "code ran" not in capsys.readouterr().out


def test_garbage_pickle(tmp_path):
    pytest.importorskip("torch")
    (tmp_path / "a.th").write_bytes(b"garbage")
    with pytest.raises(ValueError, match=r"a\.th: torch\.load\(weights_only=True\) refuses it"):
        read.read_pickle(tmp_path / "a.th")


def test_torch_absent_or_old(tmp_path, monkeypatch):
    (tmp_path / "a.th").write_bytes(b"anything")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ValueError, match=r'pip install "gtn_jax\[torch\]"'):
        read.read_pickle(tmp_path / "a.th")
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(__version__="2.9.1+cpu"))
    with pytest.raises(ValueError, match=r"torch 2\.9\.1\+cpu opens such files unsafely, 2\.10"):
        read.read_pickle(tmp_path / "a.th")

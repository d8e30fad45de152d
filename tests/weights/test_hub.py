"""The Hub with a stand-in for huggingface_hub: no test here uses the network."""

import json
import sys
import types

import pytest

from gtn_jax.weights import hub


def stand_in(monkeypatch, files, calls):
    """Make `import huggingface_hub` find `files` (name -> path) and record what is asked."""

    def hf_hub_download(repository, file, revision):
        calls.append((repository, file, revision))
        if file not in files:
            raise OSError(f"404: {file}\nand a long story")
        return str(files[file])

    module = types.SimpleNamespace(hf_hub_download=hf_hub_download)
    monkeypatch.setitem(sys.modules, "huggingface_hub", module)


def test_file_and_normalisation(monkeypatch, tmp_path):
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [1, 1, 1]}}))
    calls = []
    files = {"model.safetensors": tmp_path / "m", "config.json": config}
    stand_in(monkeypatch, files, calls)
    expected = hub.Fetched(tmp_path / "m", (0.1, 0.2, 0.3), (1.0, 1.0, 1.0))
    assert hub.fetch("hf:timm/resnet50.tv_in1k@v1") == expected
    assert calls[0] == ("timm/resnet50.tv_in1k", "model.safetensors", "v1")


def test_no_record(monkeypatch, tmp_path):
    stand_in(monkeypatch, {"model.safetensors": tmp_path / "m"}, calls := [])
    assert hub.fetch("hf:a/b") == hub.Fetched(tmp_path / "m", None, None)
    assert calls[0][2] is None


def test_absent(monkeypatch):
    stand_in(monkeypatch, {}, [])
    with pytest.raises(ValueError, match="hf:a/b: could not be fetched .*: 404") as caught:
        hub.fetch("hf:a/b")
    assert len(str(caught.value).splitlines()) == 2
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match="pip install huggingface_hub"):
        hub.fetch("hf:a/b")

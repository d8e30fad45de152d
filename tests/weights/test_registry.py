"""What `model.weights` may say."""

import dataclasses
import hashlib
import re

import numpy as np
import pytest
from safetensors.numpy import save_file

from gtn_jax.models.backbones import BACKBONES
from gtn_jax.weights import hub, registry
from gtn_jax.weights.registry import IMAGENET_MEAN, IMAGENET_STD, WeightsInfo, resolve


@pytest.fixture
def row(tmp_path, monkeypatch) -> WeightsInfo:
    """A registered file "toy"."""
    (tmp_path / "toy.safetensors").write_bytes(b"toy")
    digest = hashlib.sha256(b"toy").hexdigest()
    info = WeightsInfo("toy.safetensors", "resnet18", 3, (0.1, 0.2, 0.3), sha256=digest)
    monkeypatch.setattr(registry, "ASSETS", tmp_path)
    monkeypatch.setitem(registry.WEIGHTS, "toy", info)
    return info


def test_registered_name(row, tmp_path):
    assert resolve("toy") == (tmp_path / "toy.safetensors", row)
    with pytest.raises(dataclasses.FrozenInstanceError):
        row.backbone = "resnet50"


def test_changed_or_lost_file(row, tmp_path):
    (tmp_path / "toy.safetensors").write_bytes(b"tox")
    with pytest.raises(ValueError, match=r"toy\.safetensors: damaged, .* \(SHA-256 .*install"):
        resolve("toy")
    (tmp_path / "toy.safetensors").unlink()
    with pytest.raises(ValueError, match="no such weights file"):
        resolve("toy")


def test_path(tmp_path):
    path = tmp_path / "mine.safetensors"
    path.write_bytes(b"")
    found, info = resolve(str(path))
    assert found == path and info.backbone is None
    assert (info.mean, info.std) == (IMAGENET_MEAN, IMAGENET_STD)
    assert resolve(path) == (found, info)


@pytest.mark.parametrize(
    "mean", ["[0.5, 0.5]", "[0.5, 0.5, NaN]", '["a", 0, 0]', "5", "null", "[" * 5000, "not JSON"]
)
def test_metadata_that_is_no_mean_is_refused(tmp_path, mean):
    """Images normalized by ImageNet's instead would be wrong, and nobody would know."""
    path = tmp_path / "w.safetensors"
    save_file({"a": np.ones(1, np.float32)}, path, {"mean": mean, "std": "[1, 1, 1]"})
    with pytest.raises(ValueError, match=r"w.safetensors: mean in its metadata is .* three numb"):
        resolve(path)
    save_file({"a": np.ones(1, np.float32)}, path, {"mean": "[0, 0, 0]", "std": "[1, 0, 1]"})
    with pytest.raises(ValueError, match=r"std in its metadata is '\[1, 0, 1\]', expected"):
        resolve(path)


@pytest.mark.parametrize("name", ["gone.safetensors", "some/where", "gone.pth"])
def test_missing_path(name):
    with pytest.raises(ValueError, match=f"{name}: no such weights file"):
        resolve(name)


def test_unknown_name(row):
    with pytest.raises(ValueError, match="unknown weights 'toys'; did you mean toy") as caught:
        resolve("toys")
    assert ".safetensors" in str(caught.value)


def test_every_row_is_sound():
    for name, info in registry.WEIGHTS.items():
        path, _ = resolve(name)
        assert path.is_file() and info.backbone in BACKBONES and info.sha256
        assert info.license and info.description


def test_rows_of_the_hub():
    """What the pages of the repositories showed; revisions and digests have their full length."""
    official = registry.HUB["timm/resnet50.tv_in1k"]
    assert (official.mean, official.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (official.interpolation, official.crop) == ("bilinear", 0.875)
    assert official.sha256.startswith("5d061a3c") and official.revision.startswith("78f3ecfd")
    for repository, info in registry.HUB.items():
        assert hub.parse_name(f"hf:{repository}").repository == repository
        assert info.backbone in BACKBONES and info.license and info.description
        assert re.fullmatch(r"([0-9a-f]{40})?", info.revision)
        assert re.fullmatch(r"([0-9a-f]{64})?", info.sha256)

"""Names and shapes tell the backbone: PyTorch's own shapes, written down here."""

import numpy as np
import pytest
from safetensors.numpy import save_file

from gtn_jax.config import Config, override
from gtn_jax.training.resolution import adopt
from gtn_jax.weights.recognize import BackboneName, backbone_of, recognize, with_backbone

WIDTHS = (64, 128, 256, 512)


def resnet18(stages: int = 4, stem: int = 7, prefix: str = "") -> dict[str, tuple[int, ...]]:
    """Convolutions of torchvision's resnet18, and a BatchNorm's scale for each."""
    shapes, before = {"conv1.weight": (64, 3, stem, stem), "bn1.weight": (64,)}, 64
    for stage, width in enumerate(WIDTHS[:stages], 1):
        for block in range(2):
            name = f"layer{stage}.{block}"
            for number, of in ((1, before), (2, width)):
                shapes[f"{name}.conv{number}.weight"] = (width, of, 3, 3)
                shapes[f"{name}.bn{number}.weight"] = (width,)
            if before != width:
                shapes[f"{name}.downsample.0.weight"] = (width, before, 1, 1)
                shapes[f"{name}.downsample.1.weight"] = (width,)
            before = width
    return {prefix + name: shape for name, shape in shapes.items()}


def test_torchvision_and_its_beginnings():
    whole = {**resnet18(), "fc.weight": (1000, 512), "bn1.num_batches_tracked": ()}
    assert recognize(whole) == BackboneName("resnet18", None)
    assert recognize(resnet18(3, prefix="module.")) == BackboneName("resnet18", 3)
    assert str(BackboneName("resnet18", 3)) == "resnet18 with stages=3"


@pytest.mark.parametrize(
    "changed",
    [
        resnet18(stem=3),  # that of CIFAR
        {**resnet18(), "layer2.1.conv2.weight": (128, 64, 3, 3)},  # in groups
        {**resnet18(), "layer1.0.se.fc1.weight": (4, 64)},
        {name: shape for name, shape in resnet18().items() if name != "layer3.0.conv1.weight"},
        {**resnet18(), "layer1.2.conv1.weight": (64, 64, 3, 3)},
        {"fc.weight": (2, 2)},
        {},
    ],
)  # fmt: skip
def test_no_backbone(changed):
    assert recognize(changed) is None


def test_a_config_follows_its_weights(tiny_weights, tmp_path):
    auto = override(Config(), {"model.backbone": "auto", "model.weights": tiny_weights})
    found = with_backbone(auto)
    assert (found.model.backbone, found.model.stages) == ("tiny", None)
    assert with_backbone(found) == found
    assert with_backbone(override(auto, {"model.stages": 1})).model.stages == 1
    # In a folder with a run it is that run's: nobody opens the file.
    gone = override(auto, {"model.weights": "gone.safetensors"})
    kept = override(gone, {"model.backbone": "resnet18", "model.stages": 3})
    assert adopt(gone, kept) == kept


def test_names_of_a_hub_that_are_known_here_are_not_fetched():
    assert backbone_of("hf:timm/resnet34.tv_in1k") == BackboneName("resnet34", None)


def test_what_cannot_be_told(tmp_path):
    with pytest.raises(ValueError, match="^model.backbone: auto is that of model.weights; set"):
        with_backbone(override(Config(), {"model.backbone": "auto"}))
    path = tmp_path / "other.safetensors"
    save_file({"net.weight": np.zeros((2, 2), np.float32)}, path)
    with pytest.raises(ValueError, match=r"other.safetensors: no backbone has tensors of these"):
        backbone_of(str(path))

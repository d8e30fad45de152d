"""Names and layouts, one example of every kind of row."""

import numpy as np
import pytest

from gtn_jax.weights import keymaps

NAMES = [
    ("torchvision", "conv1.weight", "params.backbone.conv1.kernel"),
    ("torchvision", "bn1.weight", "params.backbone.bn1.scale"),
    ("torchvision", "bn1.running_mean", "batch_stats.backbone.bn1.mean"),
    ("torchvision", "layer3.22.bn3.running_var", "batch_stats.backbone.layer3.22.bn3.var"),
    (
        "torchvision",
        "layer4.0.downsample.0.weight",
        "params.backbone.layer4.0.downsample.conv.kernel",
    ),
    ("torchvision", "layer4.0.downsample.1.bias", "params.backbone.layer4.0.downsample.bn.bias"),
    ("torchvision", "fc.weight", "params.classifier.fc.kernel"),
    ("torchvision", "module.fc.bias", "params.classifier.fc.bias"),
    ("gtn_authors", "module.feature_extract.0.weight", "params.backbone.conv1.kernel"),
    ("gtn_authors", "feature_extract.1.bias", "params.backbone.bn1.bias"),
    ("gtn_authors", "feature_extract.4.2.conv3.weight", "params.backbone.layer1.2.conv3.kernel"),
    (
        "gtn_authors",
        "feature_extract.6.0.downsample.1.weight",
        "params.backbone.layer3.0.downsample.bn.scale",
    ),
    ("gtn_authors", "layer4.0.1.bn2.running_var", "batch_stats.backbone.layer4.1.bn2.var"),
    ("gtn_authors", "auxlayer.2.weight", "params.aux_classifier.fc.kernel"),
    ("gtn_authors", "fc.0.weight", "params.gate.fc1.kernel"),
    ("gtn_authors", "fc.3.weight", "params.gate.fc2.kernel"),
    ("gtn_authors", "classify.1.weight", "params.classifier.fc.kernel"),
    ("huggingface", "resnet.embedder.embedder.convolution.weight", "params.backbone.conv1.kernel"),
    (
        "huggingface",
        "embedder.embedder.normalization.running_var",
        "batch_stats.backbone.bn1.var",
    ),
    (
        "huggingface",
        "resnet.encoder.stages.2.layers.5.layer.0.convolution.weight",
        "params.backbone.layer3.5.conv1.kernel",
    ),
    (
        "huggingface",
        "resnet.encoder.stages.3.layers.0.layer.2.normalization.weight",
        "params.backbone.layer4.0.bn3.scale",
    ),
    (
        "huggingface",
        "resnet.encoder.stages.0.layers.0.shortcut.convolution.weight",
        "params.backbone.layer1.0.downsample.conv.kernel",
    ),
    (
        "huggingface",
        "resnet.encoder.stages.1.layers.0.shortcut.normalization.bias",
        "params.backbone.layer2.0.downsample.bn.bias",
    ),
    ("huggingface", "classifier.1.weight", "params.classifier.fc.kernel"),
    ("cifar", "module.conv1.weight", "params.backbone.conv1.kernel"),
    ("cifar", "module.layer2.0.conv1.weight", "params.backbone.layer2.0.conv1.kernel"),
    ("cifar", "module.linear.weight", "params.classifier.fc.kernel"),
    ("cifar", "linear.bias", "params.classifier.fc.bias"),
]


@pytest.mark.parametrize(("family", "name", "path"), NAMES)
def test_our_path(family, name, path):
    assert keymaps.our_path(name, family) == tuple(path.split("."))


@pytest.mark.parametrize(
    "name", ["conv1.running_mean", "layer1.0.conv4.weight", "fc.1.weight", "xconv1.weight", "conv1"]
)
def test_no_path(name):
    assert keymaps.our_path(name, "torchvision") is None


def test_every_family_is_detected():
    for family, name, _ in NAMES:
        if name.startswith(("conv1", "module.feature_extract", "module.linear", "resnet.", "emb")):
            assert keymaps.detect_family([name]) == family
    assert keymaps.detect_family(["layer1.0.conv1.weight"]) == "torchvision"
    assert keymaps.detect_family(["encoder.layers.0.weight"]) is None


def test_ignored():
    assert keymaps.is_ignored("module.layer1.0.bn1.num_batches_tracked")
    assert not keymaps.is_ignored("bn1.weight")


def test_layouts():
    kernel = np.arange(2 * 3 * 5 * 7).reshape(2, 3, 5, 7)
    ours = keymaps.to_our_layout(kernel)
    assert ours.shape == (5, 7, 3, 2)
    assert ours[4, 6, 1, 0] == kernel[0, 1, 4, 6]
    assert keymaps.torch_shape(ours.shape) == kernel.shape
    np.testing.assert_array_equal(keymaps.to_torch_layout(ours), kernel)
    matrix = np.arange(6).reshape(2, 3)
    np.testing.assert_array_equal(keymaps.to_our_layout(matrix), matrix.T)
    np.testing.assert_array_equal(keymaps.to_torch_layout(matrix), matrix.T)
    np.testing.assert_array_equal(keymaps.to_our_layout(np.arange(3)), np.arange(3))

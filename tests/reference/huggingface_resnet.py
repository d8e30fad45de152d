"""A PyTorch ResNet nested like transformers', so that its state dict has transformers' names.

Written after https://github.com/huggingface/transformers, models/resnet/modeling_resnet.py;
transformers itself is not needed, and nothing here comes from the package under test.
"""

import torch
from torch import nn


class ConvLayer(nn.Module):
    """ResNetConvLayer: convolution, normalization, activation."""

    def __init__(self, channels: int, features: int, size: int, stride: int, relu: bool = True):
        """`size`: of the kernel; `relu`: or no activation."""
        super().__init__()
        self.convolution = nn.Conv2d(channels, features, size, stride, size // 2, bias=False)
        self.normalization = nn.BatchNorm2d(features)
        self.activation = nn.ReLU() if relu else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """B C H W -> B C' H' W'."""
        return self.activation(self.normalization(self.convolution(x)))


class Layer(nn.Module):
    """ResNetBasicLayer or ResNetBottleNeckLayer (stride on the 3x3 convolution)."""

    def __init__(self, channels: int, features: int, stride: int, bottleneck: bool):
        """`features`: output channels."""
        super().__init__()
        changes = channels != features or stride != 1
        self.shortcut = (
            ConvLayer(channels, features, 1, stride, relu=False) if changes else nn.Identity()
        )
        if bottleneck:
            reduced = features // 4
            self.layer = nn.Sequential(
                ConvLayer(channels, reduced, 1, 1),
                ConvLayer(reduced, reduced, 3, stride),
                ConvLayer(reduced, features, 1, 1, relu=False),
            )
        else:
            self.layer = nn.Sequential(
                ConvLayer(channels, features, 3, stride),
                ConvLayer(features, features, 3, 1, relu=False),
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """B C H W -> B C' H' W'."""
        return torch.relu(self.layer(x) + self.shortcut(x))


def resnet(depths: tuple[int, ...], sizes: tuple[int, ...], bottleneck: bool, classes: int):
    """ResNetForImageClassification; `sizes` are the output channels of the stages."""
    stages, channels = nn.ModuleList(), 64
    for number, (depth, features) in enumerate(zip(depths, sizes, strict=True)):
        layers = nn.Sequential()
        for layer in range(depth):
            stride = 2 if number and not layer else 1
            layers.append(Layer(channels, features, stride, bottleneck))
            channels = features
        stages.append(_with(layers=layers))
    embedder = _with(embedder=ConvLayer(3, 64, 7, 2), pooler=nn.MaxPool2d(3, 2, 1))
    backbone = _with(embedder=embedder, encoder=_with(stages=stages))
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(channels, classes))
    return _with(resnet=backbone, classifier=classifier)


def forward(model: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """B 3 H W -> logits B N."""
    backbone = model.get_submodule("resnet")
    x = backbone.get_submodule("embedder.pooler")(backbone.get_submodule("embedder.embedder")(x))
    for stage in backbone.get_submodule("encoder.stages").children():
        x = stage.get_submodule("layers")(x)
    return model.get_submodule("classifier")(x.mean((2, 3), keepdim=True))


def _with(**children: nn.Module) -> nn.Module:
    module = nn.Module()
    for name, child in children.items():
        module.add_module(name, child)
    return module

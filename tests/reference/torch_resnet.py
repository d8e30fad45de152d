"""A plain PyTorch ResNet, to compare ours with: basic and bottleneck blocks, both shortcuts.

Written after torchvision's (projection) and akamaster/pytorch_resnet_cifar10's (pad), with their
parameter names, so that real files load; nothing here comes from the package under test.
"""

import torch
from torch import nn
from torch.nn import functional as F

torch.set_num_threads(2)


def _conv(channels: int, features: int, size: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(channels, features, size, stride, padding=size // 2, bias=False)


class Block(nn.Module):
    """Basic (two 3x3) or bottleneck (1x1, 3x3, 1x1) with its shortcut; B C H W."""

    def __init__(self, channels: int, width: int, stride: int, bottleneck: bool, pad: bool):
        """`pad`: fill a shortcut with zero channels instead of projecting it."""
        super().__init__()
        features = 4 * width if bottleneck else width
        plan = [(width, 3, stride), (width, 3, 1)]
        if bottleneck:
            plan = [(width, 1, 1), (width, 3, stride), (features, 1, 1)]
        before = channels
        for index, (after, size, step) in enumerate(plan, start=1):
            setattr(self, f"conv{index}", _conv(before, after, size, step))
            setattr(self, f"bn{index}", nn.BatchNorm2d(after))
            before = after
        self.depth, self.stride, self.missing = len(plan), stride, features - channels
        changes = stride != 1 or channels != features
        self.pads = changes and pad
        if changes and not pad:
            self.downsample = nn.Sequential(
                _conv(channels, features, 1, stride), nn.BatchNorm2d(features)
            )
        else:
            self.downsample = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """B C H W -> B C' H' W'."""
        y = x
        for index in range(1, self.depth + 1):
            y = getattr(self, f"bn{index}")(getattr(self, f"conv{index}")(y))
            y = F.relu(y) if index < self.depth else y
        if self.pads:
            side = self.missing // 2
            shortcut = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, side, side))
        else:
            shortcut = self.downsample(x)
        return F.relu(y + shortcut)


class TorchResNet(nn.Module):
    """A backbone and, with `classes`, a linear layer called `head`."""

    def __init__(
        self,
        blocks: tuple[int, ...],
        bottleneck: bool = False,
        small: bool = False,
        width: int = 64,
        classes: int = 0,
        head: str = "fc",
    ):
        """`small`: the CIFAR form, a 3x3 stem without pooling and padded shortcuts."""
        super().__init__()
        self.stages, self.small, self.head = len(blocks), small, head
        self.conv1 = _conv(3, width, 3 if small else 7, 1 if small else 2)
        self.bn1 = nn.BatchNorm2d(width)
        channels = width
        for index, count in enumerate(blocks):
            stage = nn.Sequential()
            for block in range(count):
                stride = 2 if index and not block else 1
                stage.append(Block(channels, width * 2**index, stride, bottleneck, pad=small))
                channels = width * 2**index * (4 if bottleneck else 1)
            setattr(self, f"layer{index + 1}", stage)
        if classes:
            setattr(self, head, nn.Linear(channels, classes))

    def forward(self, x: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """B 3 H W -> one map a stage, and logits B N if there is a linear layer."""
        x = F.relu(self.bn1(self.conv1(x)))
        if not self.small:
            x = F.max_pool2d(x, 3, 2, 1)
        maps = []
        for index in range(self.stages):
            x = getattr(self, f"layer{index + 1}")(x)
            maps.append(x)
        if not hasattr(self, self.head):
            return maps, None
        return maps, getattr(self, self.head)(x.mean((2, 3)))


class TorchGTN(nn.Module):
    """ResNet-50 GTN with the authors' parameter names (https://github.com/jiaxue-ai/GTN).

    Dropout is left out, its places kept as `nn.Identity`: the names count positions.
    """

    def __init__(self, classes: int):
        """`classes`: outputs of both classifiers."""
        super().__init__()
        backbone = TorchResNet((3, 4, 6, 3), bottleneck=True)
        self.feature_extract = nn.Sequential(
            *(backbone.conv1, backbone.bn1, nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
            *(backbone.get_submodule(f"layer{stage}") for stage in (1, 2, 3)),
        )
        self.layer4 = nn.Sequential(backbone.get_submodule("layer4"))
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        pool = (nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.auxlayer = nn.Sequential(*pool, nn.Linear(1024, classes, bias=False))
        hidden = (nn.Linear(2048, 128, bias=False), nn.ReLU(), nn.Identity())
        self.fc = nn.Sequential(*hidden, nn.Linear(128, 2048, bias=False), nn.Sigmoid())
        self.classify = nn.Sequential(nn.Identity(), nn.Linear(2048, classes, bias=False))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """B 3 H W -> logits and auxiliary logits, B N."""
        h = self.feature_extract(x)
        f = self.pool(self.layer4(h))
        return self.classify(self.fc(f) * f), self.auxlayer(h)

"""The PyTorch peer: the same gated ResNet, in either memory layout, with AMP, and compiled.

PyTorch is imported only in functions, in a child process, and may be absent. The model follows the
authors' (https://github.com/jiaxue-ai/GTN). Images are floats on the device, so that the step,
unlike ours, does not flip or normalize.
"""

import os
from collections.abc import Callable
from typing import Any

from gtn_jax.benchmark.spec import Spec
from gtn_jax.benchmark.workload import Workload
from gtn_jax.models.backbones import BACKBONES, ResNetShape


def _stages(shape: ResNetShape) -> tuple[list[Any], list[int]]:
    """A module for each stage, the first with the stem, and the channels after each."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Residual(nn.Module):
        def __init__(self, body: nn.Module, shortcut: Callable[[Any], Any]):
            super().__init__()
            self.body, self.shortcut = body, shortcut

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return functional.relu(self.body(x) + self.shortcut(x), inplace=True)

    def conv(channels: int, features: int, size: int, stride: int = 1) -> list[nn.Module]:
        layer = nn.Conv2d(channels, features, size, stride, padding=size // 2, bias=False)
        return [layer, nn.BatchNorm2d(features)]

    def block(channels: int, width: int, stride: int) -> nn.Module:
        features = expansion * width
        if shape.block == "bottleneck":
            body = [*conv(channels, width, 1), relu, *conv(width, width, 3, stride), relu]
            body += conv(width, features, 1)
        else:
            body = [*conv(channels, width, 3, stride), relu, *conv(width, width, 3)]
        sides = (0, 0, 0, 0, (features - channels) // 2, (features - channels + 1) // 2)
        if stride == 1 and channels == features:
            shortcut = nn.Identity()
        elif shape.shortcut == "projection":
            shortcut = nn.Sequential(*conv(channels, features, 1, stride))
        else:
            shortcut = lambda x: functional.pad(x[:, :, ::stride, ::stride], sides)  # noqa: E731
        return Residual(nn.Sequential(*body), shortcut)

    relu = nn.ReLU(inplace=True)
    expansion = 4 if shape.block == "bottleneck" else 1
    if shape.stem == "imagenet":
        layers = [*conv(3, shape.width, 7, 2), relu, nn.MaxPool2d(3, 2, 1)]
    else:
        layers = [*conv(3, shape.width, 3, shape.stem_stride), relu]
    stages, after, channels = [], [], shape.width
    for index, count in enumerate(shape.blocks_per_stage):
        width = shape.width * 2**index
        for number in range(count):
            layers.append(block(channels, width, 2 if index and not number else 1))
            channels = expansion * width
        stages.append(nn.Sequential(*layers))
        after.append(channels)
        layers = []
    return stages, after


def gated_resnet(backbone: str, classes: int) -> Any:
    """A torch module: images B 3 H W -> logits and auxiliary logits, B N.

    Its parts are `early` and `late` (the backbone), `gate`, `classifier` and `auxiliary`.
    """
    import torch
    from torch import nn

    shape = BACKBONES[backbone]
    assert isinstance(shape, ResNetShape), backbone

    class GatedResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            (*early, self.late), (*_, before, width) = _stages(shape)
            self.early = nn.Sequential(*early)
            hidden = max(1, width // 16)
            self.gate = nn.Sequential(
                *(nn.Linear(width, hidden, bias=False), nn.ReLU(inplace=True), nn.Dropout(0.7)),
                *(nn.Linear(hidden, width, bias=False), nn.Sigmoid()),
            )
            head = nn.Linear(width, classes, bias=False)
            self.classifier = nn.Sequential(nn.Dropout(0.5), head)
            self.auxiliary = nn.Linear(before, classes, bias=False)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            x = self.early(x)
            pooled = self.late(x).mean((2, 3))
            return self.classifier(self.gate(pooled) * pooled), self.auxiliary(x.mean((2, 3)))

    return GatedResNet()


def build(spec: Spec) -> Workload:
    """Steps on one batch on the device, or a product of matrices.

    Variants combine "nchw" or "channels_last", "amp" (bfloat16 autocast) and "compile".
    """
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def wait(result: object) -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    if spec.kind == "matmul":
        square, dtype = (spec.size, spec.size), getattr(torch, spec.dtype)
        one, other = (torch.randn(square, device=device).to(dtype) for _ in range(2))
        return Workload(lambda: torch.matmul(one, other), 2 * spec.size**3 / 1e9, wait)
    return Workload(_step(spec, device), spec.batch_size, wait)


def _step(spec: Spec, device: Any) -> Callable[[], object]:
    import torch
    from torch.nn import functional

    last = "channels_last" in spec.variant
    layout: Any = torch.channels_last if last else torch.contiguous_format
    model = gated_resnet(spec.backbone, spec.classes).to(device, memory_format=layout)
    size = (spec.batch_size, 3, spec.image_size, spec.image_size)
    images = torch.randn(size, device=device).contiguous(memory_format=layout)
    labels = torch.randint(spec.classes, (spec.batch_size,), device=device)
    amp = torch.autocast(device.type, torch.bfloat16, enabled="amp" in spec.variant)
    model.train(spec.kind != "evaluation")
    if spec.kind == "frozen_step":  # our default: no gradient, running statistics
        for part in (model.early, model.late):
            part.eval().requires_grad_(False)
    compiled = torch.compile(model) if "compile" in spec.variant else model
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(trainable, lr=0.01, momentum=0.9, weight_decay=1e-4)

    def evaluate() -> object:
        with torch.inference_mode(), amp:
            logits, _ = compiled(images)
            losses = functional.cross_entropy(logits.float(), labels, reduction="sum")
            return losses, (logits.argmax(1) == labels).sum()

    def train() -> object:
        optimizer.zero_grad(set_to_none=True)
        with amp:
            logits, auxiliary = compiled(images)
        loss = functional.cross_entropy(logits.float(), labels)
        loss = loss + 0.2 * functional.cross_entropy(auxiliary.float(), labels)
        loss.backward()
        optimizer.step()
        return loss

    return evaluate if spec.kind == "evaluation" else train

"""The PyTorch peer: the same gated ResNet, eager, in either memory layout; with AMP and compiled.

PyTorch is imported in functions only, in a child process, and may be absent. The model follows
the authors' (https://github.com/jiaxue-ai/GTN); images are floats on the device already, so the
step has no flipping or normalising to do, unlike ours.
"""

import os
from collections.abc import Callable
from typing import Any

from gtn_jax.benchmark.spec import Spec
from gtn_jax.benchmark.workload import Workload
from gtn_jax.models.backbones import BACKBONES, ResNetShape


def _conv_norm(channels: int, features: int, size: int, stride: int) -> Any:
    from torch import nn

    conv = nn.Conv2d(channels, features, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(features))


def _block(channels: int, width: int, stride: int, shape: ResNetShape) -> Any:
    """A residual block of `shape` as a torch module, B C H W -> B C' H/stride W/stride."""
    import torch
    from torch import nn
    from torch.nn import functional

    bottleneck = shape.block == "bottleneck"
    features = 4 * width if bottleneck else width
    plan = [(width, 3, stride), (features, 3, 1)]
    if bottleneck:
        plan = [(width, 1, 1), (width, 3, stride), (features, 1, 1)]
    changes = stride != 1 or channels != features

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            layers, before = [], channels
            for number, (after, size, step) in enumerate(plan):
                layers += [nn.ReLU(inplace=True)] if number else []
                layers.append(_conv_norm(before, after, size, step))
                before = after
            self.body = nn.Sequential(*layers)
            projects = changes and shape.shortcut == "projection"
            self.project = _conv_norm(channels, features, 1, stride) if projects else None

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = self.body(x)
            if self.project is not None:
                x = self.project(x)
            elif changes:
                missing = features - channels
                sides = (0, 0, 0, 0, missing // 2, missing - missing // 2)
                x = functional.pad(x[:, :, ::stride, ::stride], sides)
            return functional.relu(x + y, inplace=True)

    return Block()


def _trunk(shape: ResNetShape) -> tuple[Any, Any, tuple[int, int]]:
    """Stem with all stages but the last, the last stage, and the channels after each."""
    from torch import nn

    if shape.stem == "imagenet":
        stem = _conv_norm(3, shape.width, 7, 2)
        layers = [stem, nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
    else:
        layers = [_conv_norm(3, shape.width, 3, shape.stem_stride), nn.ReLU(inplace=True)]
    expansion = 4 if shape.block == "bottleneck" else 1
    stages, channels, after = [], shape.width, []
    for index, count in enumerate(shape.blocks_per_stage):
        width, blocks = shape.width * 2**index, []
        for number in range(count):
            blocks.append(_block(channels, width, 2 if index and not number else 1, shape))
            channels = width * expansion
        stages.append(nn.Sequential(*blocks))
        after.append(channels)
    return nn.Sequential(*layers, *stages[:-1]), stages[-1], (after[-2], after[-1])


def gated_resnet(backbone: str, classes: int) -> Any:
    """A torch module of ours: images B 3 H W -> logits and auxiliary logits, B N.

    Its parts are `early` and `late` (the trunk), `gate`, `classifier`, `auxiliary`.
    """
    import torch
    from torch import nn

    shape = BACKBONES[backbone]
    if not isinstance(shape, ResNetShape):
        raise ValueError(f"{backbone} is not a ResNet")

    class GatedResNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.early, self.late, (before, width) = _trunk(shape)
            hidden = max(1, width // 16)
            self.gate = nn.Sequential(
                *(nn.Linear(width, hidden, bias=False), nn.ReLU(inplace=True), nn.Dropout(0.7)),
                *(nn.Linear(hidden, width, bias=False), nn.Sigmoid()),
            )
            head = nn.Linear(width, classes, bias=False)
            self.classifier = nn.Sequential(nn.Dropout(0.5), head)
            self.auxiliary = nn.Linear(before, classes, bias=False)

        def trunk(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            h = self.early(x)
            return h.mean((2, 3)), self.late(h).mean((2, 3))

        def heads(self, h: torch.Tensor, f: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.classifier(self.gate(f) * f), self.auxiliary(h)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.heads(*self.trunk(x))

    return GatedResNet()


def build(spec: Spec) -> Workload:
    """Steps of the kind of `spec` on one batch that stays on the device; by `spec.variant`.

    Variants: words of "nchw" or "channels_last", "amp" (bfloat16 autocast), "compile". A product
    of matrices, for the limits, has none.
    """
    import torch

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if spec.kind == "matmul":
        return _matmul(spec, device)
    last = "channels_last" in spec.variant
    layout: Any = torch.channels_last if last else torch.contiguous_format
    side = spec.image_size
    model = gated_resnet(spec.backbone, spec.classes).to(device, memory_format=layout)
    images = torch.randn(spec.batch_size, 3, side, side, device=device)
    images = images.contiguous(memory_format=layout)
    labels = torch.randint(spec.classes, (spec.batch_size,), device=device)
    step = _step(spec, model, images, labels)

    def repeat(iterations: int) -> None:
        for _ in range(iterations):
            step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    return Workload(repeat, spec.batch_size)


def _step(spec: Spec, model: Any, images: Any, labels: Any) -> Callable[[], object]:
    """One step of training, frozen training, or evaluation."""
    import torch
    from torch.nn import functional

    amp = torch.autocast(images.device.type, torch.bfloat16, enabled="amp" in spec.variant)
    model.train(spec.kind != "evaluation")
    frozen = spec.kind == "frozen_step"
    if frozen:  # our default: no gradient, running statistics
        for part in (model.early, model.late):
            part.eval().requires_grad_(False)
    compiled = torch.compile(model) if "compile" in spec.variant else model
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    optimizer = torch.optim.SGD(trained, lr=0.01, momentum=0.9, weight_decay=1e-4)

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


def _matmul(spec: Spec, device: Any) -> Workload:
    import torch

    dtype = getattr(torch, spec.dtype)
    one, other = (torch.randn(spec.size, spec.size, device=device).to(dtype) for _ in range(2))

    def repeat(iterations: int) -> None:
        for _ in range(iterations):
            torch.matmul(one, other)
        if device.type == "cuda":
            torch.cuda.synchronize()

    return Workload(repeat, 2 * spec.size**3 / 1e9)

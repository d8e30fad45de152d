"""`Spec`: what one child process builds and times; `Group`: specs that are timed in turns."""

import dataclasses
import json
from typing import Any

from gtn_jax.config import DataConfig

OURS = "gtn_jax"
CLASSES = 100


@dataclasses.dataclass(frozen=True)
class Spec:
    """One workload of one framework.

    Attributes:
        kind: what is done, e.g. "train_step"; the worker's tables hold the names.
        framework: whose, e.g. "gtn_jax", "flax", "torch".
        variant: how, where a framework has several ways, e.g. "channels_last".
        backbone: name in `gtn_jax.models.backbones.BACKBONES`.
        batch_size: images a step.
        image_size: side in pixels.
        classes: outputs of the classifiers.
        dtype: compute dtype, "float32" or "bfloat16"; PyTorch's bfloat16 is its autocast.
        gate: name in `gtn_jax.models.gate.GATES`.
        auxiliary: whether there is an auxiliary classifier.
        images: size of the generated data set, where one is needed.
        size: side of the matrices of a product, or MiB that are copied.
        devices: how many; None takes one of those there are.
        scan: training steps in one call.
        prefetch: batches put on the device ahead of the step that takes them.
        env: environment of the child, (name, value) pairs; XLA_FLAGS are added to those there.
    """

    kind: str
    framework: str = OURS
    variant: str = ""
    backbone: str = "resnet50"
    batch_size: int = 16
    image_size: int = 224
    classes: int = CLASSES
    dtype: str = "float32"
    gate: str = "sigmoid"
    auxiliary: bool = True
    images: int = 0
    size: int = 0
    devices: int | None = None
    scan: int = 1
    prefetch: int = 0
    env: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """Framework and variant in one word."""
        return f"{self.framework}_{self.variant}" if self.variant else self.framework

    @property
    def name(self) -> str:
        """Of the row: what is done at which size, the same for all frameworks."""
        if self.kind in LIMITS:
            return f"{self.kind}/{self.size}/{self.dtype}"
        if self.kind == "dataset_start":
            return f"{self.kind}/{self.images}images/{self.image_size}px"
        size = [f"{self.image_size}px", f"batch{self.batch_size}"]
        if not self.is_network:
            return "/".join([self.kind, *size])
        parts = [self.kind, self.backbone, *size, self.dtype]
        if self.devices:
            parts.append(f"devices{self.devices}")
        if self.classes != CLASSES:
            parts.append(f"classes{self.classes}")
        return "/".join(parts)

    @property
    def unit(self) -> str:
        """Of the row called `name`."""
        units = {"copy": "GB/s", "matmul": "GFLOP/s", "dataset_start": "seconds"}
        return units.get(self.kind, "images/s")

    @property
    def is_network(self) -> bool:
        """Whether a network runs in it, not the machine's limits or the input pipeline alone."""
        return self.kind not in LIMITS and not self.kind.startswith("input")

    @property
    def described(self) -> dict[str, Any]:
        """The extra keys that rows of this spec carry."""
        if self.kind in LIMITS:
            return {"dtype": self.dtype, "size": self.size}
        fields = ("backbone", "batch_size", "image_size", "classes", "dtype")
        found = {field: getattr(self, field) for field in fields}
        return found | ({"devices": self.devices} if self.devices else {})

    def to_json(self) -> str:
        """One line."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, line: str) -> "Spec":
        """The inverse of `to_json`."""
        fields = json.loads(line)
        return cls(**fields | {"env": tuple((name, value) for name, value in fields["env"])})


LIMITS = ("copy", "matmul")
"""Kinds that measure the machine, not a network."""


@dataclasses.dataclass(frozen=True)
class Group:
    """Specs whose children live at the same time and are timed in turns, A B A B.

    Attributes:
        name: what `--only` takes.
        specs: the first is the one that the others are compared with.
        weight: share of the time that this group may use for repeats, relative to the others'.
        rounds: repeats at least (while the time lasts) and at most.
        repeat_seconds: a repeat does as many steps as fit in so much time.
        compares: whether the first spec is divided by the others.
        starts: whether the starts of the specs' processes are timed, not their steps.
        axis: of growth, whose point this group is: measured once, and only if it will fit.
    """

    name: str
    specs: tuple[Spec, ...]
    weight: float = 1.0
    rounds: tuple[int, int] = (3, 9)
    repeat_seconds: float = 1.0
    compares: bool = True
    starts: bool = False
    axis: str = ""


def data_of(spec: Spec) -> DataConfig:
    """What training on photos asks for: random crops of 224 out of a short side of 256."""
    return DataConfig(
        image_size=spec.image_size,
        resize_size=round(spec.image_size * 8 / 7),
        batch_size=spec.batch_size,
        random_resized_crop=spec.kind not in ("train_step", "frozen_step"),
    )

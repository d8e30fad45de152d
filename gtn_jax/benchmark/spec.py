"""`Spec`, a workload of a framework, and `Group`, the specs that are compared."""

import dataclasses

OURS = "gtn_jax"
CLASSES = 100
LIMITS = ("copy", "matmul")
"""Kinds that measure the machine."""
INPUT = ("input_decode", "input_host", "input_streamed")
"""Kinds that read and decode images without a network."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """One workload, built and timed in its own process.

    Attributes:
        kind: "train_step", "frozen_step", "evaluation", "end_to_end" (training from image files),
            or one of `LIMITS` or `INPUT`.
        framework: "gtn_jax", "flax" or "torch"; "jax" and "numpy" for the limits.
        variant: of the implementation, e.g. "channels_last".
        backbone: name in `gtn_jax.models.backbones.BACKBONES`.
        batch_size: images per step.
        image_size: side in pixels.
        classes: outputs of the classifiers.
        dtype: compute dtype, "float32" or "bfloat16"; for PyTorch, bfloat16 is autocast.
        images: size of the generated data set, for kinds that need one.
        size: side of the matrices of a product, or MiB to copy.
        env: environment variables as (name, value) pairs; XLA_FLAGS are appended.
    """

    kind: str
    framework: str = OURS
    variant: str = ""
    backbone: str = "resnet50"
    batch_size: int = 16
    image_size: int = 224
    classes: int = CLASSES
    dtype: str = "float32"
    images: int = 0
    size: int = 0
    env: tuple[tuple[str, str], ...] = ()

    @property
    def label(self) -> str:
        """Framework and variant in one word."""
        return f"{self.framework}_{self.variant}" if self.variant else self.framework

    @property
    def name(self) -> str:
        """Name of the row: kind and sizes, the same for all frameworks."""
        if self.kind in LIMITS:
            return f"{self.kind}/{self.size}/{self.dtype}"
        size = f"{self.image_size}px/batch{self.batch_size}"
        if self.kind in INPUT:
            return f"{self.kind}/{size}"
        classes = f"/classes{self.classes}" if self.classes != CLASSES else ""
        return f"{self.kind}/{self.backbone}/{size}/{self.dtype}{classes}"

    @property
    def unit(self) -> str:
        """Unit of the row."""
        return {"copy": "GB/s", "matmul": "GFLOP/s"}.get(self.kind, "images/s")


@dataclasses.dataclass(frozen=True)
class Group:
    """Specs whose processes are alive together and timed in turns, A B A B.

    Attributes:
        name: what selects it, e.g. "step".
        specs: the first is the one that the others are compared with.
        weight: share of the remaining time for repeats, relative to later groups.
        rounds: minimum (if time permits) and maximum number of repeats.
        compares: whether there are ratios of the first spec to each other one.
        starts: time the start of each process instead of its steps.
    """

    name: str
    specs: tuple[Spec, ...]
    weight: float = 1.0
    rounds: tuple[int, int] = (3, 9)
    compares: bool = True
    starts: bool = False

"""Recognition of a weights file's backbone by names and shapes of its tensors."""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from flax import traverse_util

from gtn_jax.config import Config, override
from gtn_jax.models.backbones import BACKBONES, ResNetShape
from gtn_jax.models.gtn import GTN, variable_shapes
from gtn_jax.weights import hub, keymaps
from gtn_jax.weights.read import read_safetensors
from gtn_jax.weights.registry import HUB, resolve

AUTO = "auto"  # value of `model.backbone` for that of the weights
Shapes = Mapping[str, tuple[int, ...]]  # tensor name -> shape in PyTorch's layout


class BackboneName(NamedTuple):
    """A row of `BACKBONES`, or its first stages."""

    backbone: str
    stages: int | None  # None: all

    def __str__(self) -> str:
        """Text for messages."""
        return self.backbone + (f" with stages={self.stages}" if self.stages else "")


def similar(shapes: Shapes, family: str) -> BackboneName | None:
    """The backbone with the same number of blocks, kind of block and width of the stem, if any."""
    ours = {keymaps.our_path(name, family): shape for name, shape in shapes.items()}
    blocks = {path[2:4] for path in ours if path and len(path) == 6 and path[1] == "backbone"}
    stages = sorted({stage for stage, _ in blocks})
    counts = tuple(sum(stage == block[0] for block in blocks) for stage in stages)
    is_bottleneck = any(path and path[4:5] == ("conv3",) for path in ours)
    width = (*ours.get(("params", "backbone", "conv1", "kernel"), ()), 0)[0]
    truncated = []
    for name, row in BACKBONES.items():
        if not isinstance(row, ResNetShape):  # a user's own backbone
            continue
        same_kind = (row.block == "bottleneck") == is_bottleneck and row.width == width
        if same_kind and row.blocks_per_stage == counts:
            return BackboneName(name, None)
        if counts and same_kind and row.blocks_per_stage[: len(counts)] == counts:
            truncated.append(BackboneName(name, len(counts)))
    return truncated[0] if truncated else None


def recognize(shapes: Shapes) -> BackboneName | None:
    """The backbone with exactly these convolutions and any heads; None for unknown tensors."""
    family = keymaps.detect_family(shapes)
    shapes = {name: shape for name, shape in shapes.items() if not keymaps.is_ignored(name)}
    backbone = similar(shapes, family) if family else None
    if family is None or backbone is None:
        return None
    module = GTN(backbone.backbone, 2, gate="none", stages=backbone.stages, auxiliary=False)
    leaves = cast(dict[Any, Any], traverse_util.flatten_dict(dict(variable_shapes(module))))
    # Only kernels, which distinguish backbones: `port` explains missing BatchNorm tensors.
    expected = {
        path: keymaps.torch_shape(leaf.shape) for path, leaf in leaves.items() if _is_kernel(path)
    }
    by_path = {keymaps.our_path(name, family): shape for name, shape in shapes.items()}
    kernels = {path: shape for path, shape in by_path.items() if path and _is_kernel(path)}
    return backbone if kernels == expected and None not in by_path else None


def _is_kernel(path: keymaps.LeafPath) -> bool:
    return path[1] == "backbone" and path[-1] == "kernel"


def with_backbone(config: Config) -> Config:
    """Replace backbone "auto" by that of the weights, and `model.stages` unless it is set.

    Weights of the Hub are downloaded unless their backbone is in `HUB`. ValueError without weights
    or for an unknown backbone.
    """
    model = config.model
    if model.backbone != AUTO:
        return config
    if model.weights is None:
        raise ValueError("model.backbone: auto is that of model.weights; set them, or name one")
    backbone = backbone_of(model.weights)
    stages = backbone.stages if model.stages is None else model.stages
    return override(config, {"model.backbone": backbone.backbone, "model.stages": stages})


def backbone_of(weights: str) -> BackboneName:
    """The backbone of weights in a form of `registry.resolve`; ValueError if there is none."""
    if weights.startswith(hub.PREFIX):
        row = HUB.get(hub.parse_name(weights).repository)
        if row is not None and row.backbone is not None:
            return BackboneName(row.backbone, None)
    path, _ = resolve(weights)
    backbone = recognize({name: tensor.shape for name, tensor in read_safetensors(path).items()})
    if backbone is None:
        raise ValueError(
            f"{path}: no backbone has tensors of these names and shapes; see `gtn list backbones`"
        )
    return backbone

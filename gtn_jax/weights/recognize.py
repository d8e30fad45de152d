"""Which backbone a weights file is of, told by the names and shapes of its tensors.

`model.backbone` "auto" asks this; errors and other readers of files do, too.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from flax import traverse_util

from gtn_jax.config import Config, override
from gtn_jax.models.backbones import BACKBONES, ResNetShape
from gtn_jax.models.gtn import GTN, variable_shapes
from gtn_jax.weights import hub, keymaps
from gtn_jax.weights.read import read_safetensors
from gtn_jax.weights.registry import HUB, resolve

AUTO = "auto"
"""Of `model.backbone`: that of the weights."""

Shapes = Mapping[str, tuple[int, ...]]
"""Name of a tensor -> shape, as in PyTorch."""


class BackboneName(NamedTuple):
    """A row of `BACKBONES`, or its beginning.

    Attributes:
        backbone: name.
        stages: how many there are; None: all.
    """

    backbone: str
    stages: int | None

    def __str__(self) -> str:
        """For a person."""
        return self.backbone + (f" with stages={self.stages}" if self.stages else "")


def similar(shapes: Shapes, family: str) -> BackboneName | None:
    """The backbone with these numbers of blocks, kind of block and width of the stem; None:
    none."""
    ours = {keymaps.our_path(name, family): shape for name, shape in shapes.items()}
    blocks = {path[2:4] for path in ours if path and len(path) == 6 and path[1] == "backbone"}
    stages = sorted({stage for stage, _ in blocks})
    counts = tuple(sum(stage == block[0] for block in blocks) for stage in stages)
    is_bottleneck = any(path and path[4:5] == ("conv3",) for path in ours)
    width = (*ours.get(("params", "backbone", "conv1", "kernel"), ()), 0)[0]
    beginnings = []
    for name, row in BACKBONES.items():
        if not isinstance(row, ResNetShape):  # somebody's own backbone: nothing known to compare
            continue
        same_kind = (row.block == "bottleneck") == is_bottleneck and row.width == width
        if same_kind and row.blocks_per_stage == counts:
            return BackboneName(name, None)
        if counts and same_kind and row.blocks_per_stage[: len(counts)] == counts:
            beginnings.append(BackboneName(name, len(counts)))
    return beginnings[0] if beginnings else None


def recognize(shapes: Shapes) -> BackboneName | None:
    """The backbone with these convolutions, where every tensor has a name that is known.

    Heads may be any; None: there is no such backbone in `BACKBONES`.
    """
    family = keymaps.detect_family(shapes)
    shapes = {name: shape for name, shape in shapes.items() if not keymaps.is_ignored(name)}
    found = similar(shapes, family) if family else None
    if family is None or found is None:
        return None
    module = GTN(found.backbone, 2, gate="none", stages=found.stages, auxiliary=False)
    leaves = cast(dict[Any, Any], traverse_util.flatten_dict(dict(variable_shapes(module))))
    # Kernels tell backbones apart; what BatchNorm lacks is port.py's to say, which knows how that
    # comes.
    expected = {
        path: keymaps.torch_shape(leaf.shape) for path, leaf in leaves.items() if _is_kernel(path)
    }
    there = {keymaps.our_path(name, family): shape for name, shape in shapes.items()}
    kernels = {path: shape for path, shape in there.items() if path and _is_kernel(path)}
    fits = kernels == expected and None not in there
    return found if fits else None


def _is_kernel(path: keymaps.LeafPath) -> bool:
    return path[1] == "backbone" and path[-1] == "kernel"


def with_backbone(config: Config) -> Config:
    """A config whose backbone is a name: of "auto", the one that its weights are of.

    `model.stages` follows unless it is set. Weights of a hub are fetched only where they are not
    known here.

    Raises:
        ValueError: no weights, or of no backbone that is known here.
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
    """The backbone that weights are of.

    Args:
        weights: as `registry.resolve` takes them.

    Raises:
        ValueError: as `registry.resolve`; or there is no such backbone.
    """
    if weights.startswith(hub.PREFIX):
        row = HUB.get(hub.parse_name(weights).repository)
        if row is not None and row.backbone is not None:
            return BackboneName(row.backbone, None)
    path, _ = resolve(weights)
    found = recognize({name: tensor.shape for name, tensor in read_safetensors(path).items()})
    if found is None:
        raise ValueError(
            f"{path}: no backbone has tensors of these names and shapes; see `gtn list backbones`"
        )
    return found

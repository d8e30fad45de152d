"""The gated transfer network: a backbone, a gate, a classifier and an auxiliary classifier.

    h = stages 1..S-1 of the backbone        f = pool(stage S)
    logits = classifier(gate(f))          aux_logits = aux_classifier(pool(h))

"Gated Transfer Network for Transfer Learning" (arXiv 1810.12521, ACCV 2018), after its code
(https://github.com/jiaxue-ai/GTN, model/GTN.py). The loss is in training/losses.py.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from gtn_jax.arrays import Array, Outputs, Pooled, Variables
from gtn_jax.models.backbones import build_backbone
from gtn_jax.models.gate import build_gate
from gtn_jax.models.heads import Classifier, pool


class GTN(nn.Module):
    """Backbone, gate and heads in one module.

    Attributes:
        backbone: name in `BACKBONES`.
        num_classes: N.
        gate: name in `GATES`.
        stages: number of stages of the backbone to keep; None keeps all.
        gate_reduction: K / hidden width of the gate.
        gate_dropout: rate on the gate's hidden units.
        classifier_dropout: rate on the gated features.
        classifier_bias: the paper's classifier has none.
        auxiliary: whether to build the auxiliary classifier.
        torch_running_variance: see `gtn_jax.models.layers.BatchNorm`.
        remat: see `gtn_jax.models.resnet.ResNet`.
        dtype: compute dtype of the backbone; gate and heads compute in float32.

    Example:
        >>> model = GTN("resnet8_wide", num_classes=5, stages=2)
        >>> variables = init_variables(model, seed=0)
        >>> outputs = model.apply(variables, jnp.zeros((2, 8, 8, 3)), train=False)
        >>> outputs.logits.shape, outputs.gate.shape
        ((2, 5), (2, 128))
        >>> sorted(variables["params"])
        ['aux_classifier', 'backbone', 'classifier', 'gate']
    """

    backbone: str
    num_classes: int
    gate: str = "sigmoid"
    stages: int | None = None
    gate_reduction: int = 16
    gate_dropout: float = 0.7
    classifier_dropout: float = 0.5
    classifier_bias: bool = False
    auxiliary: bool = True
    torch_running_variance: bool = False
    remat: bool = False
    dtype: Any = jnp.float32

    def setup(self) -> None:
        """Build the backbone; the modules of `heads` depend on the width of its maps."""
        self.stage_maps = build_backbone(
            self.backbone,
            self.stages,
            self.dtype,
            "backbone",
            self.torch_running_variance,
            self.remat,
        )

    def __call__(
        self, images: Float[Array, "B H W 3"], train: bool, freeze_batch_norm: bool = False
    ) -> Outputs:
        """Classify a batch of normalized images.

        Args:
            images: any float dtype.
            train: apply dropout and normalize with batch statistics, which needs an rng "dropout"
                (if any rate is above 0) and `mutable=["batch_stats"]`.
            freeze_batch_norm: normalize with the running statistics even in training.
        """
        return self.heads(self.pooled(images, freeze_batch_norm or not train), train)

    def pooled(self, images: Float[Array, "B H W 3"], use_running_average: bool) -> Pooled:
        """Run the backbone alone: `model.apply(variables, images, True, method=GTN.pooled)`.

        Raises:
            ValueError: an auxiliary classifier, and no stage to feed it.
        """
        maps = self.stage_maps(images, use_running_average=use_running_average)
        if not self.auxiliary:
            return Pooled(pool(maps[-1]), None)
        if len(maps) < 2:
            raise ValueError(
                "model.stages: 1 leaves no stage before the last for the auxiliary classifier; "
                "keep at least 2 stages or build without it"
            )
        return Pooled(pool(maps[-1]), pool(maps[-2]))

    @nn.compact
    def heads(self, pooled: Pooled, train: bool) -> Outputs:
        """Run gate and classifiers alone; their parameters are enough. `train` turns dropout on."""
        gated, factors = gate_of(self, "gate")(pooled.final, train)
        head = Classifier(
            self.num_classes, self.classifier_dropout, self.classifier_bias, name="classifier"
        )
        aux_logits = None
        if pooled.penultimate is not None:
            auxiliary = Classifier(self.num_classes, name="aux_classifier")
            aux_logits = auxiliary(pooled.penultimate, train)
        return Outputs(head(gated, train), aux_logits, factors, pooled.final)


def gate_of(model: GTN, name: str | None = None) -> nn.Module:
    """The gate module of a model, for the variables at "gate" of the model's parameters."""
    return build_gate(model.gate, name, reduction=model.gate_reduction, dropout=model.gate_dropout)


def init_variables(model: GTN, seed: int, image_size: int = 32) -> Variables:
    """Initialize float32 variables; the same seed gives the same values.

    Args:
        model: any GTN.
        seed: of the initializers.
        image_size: side in pixels of the traced images; the result does not depend on it.
    """

    def init(key: jax.Array) -> Variables:
        images = jnp.zeros((1, image_size, image_size, 3), jnp.float32)
        variables = model.init(key, images, False)
        return {name: variables[name] for name in ("params", "batch_stats")}

    return _run_once(init, seed)


class Traced(NamedTuple):
    """Shapes (`jax.ShapeDtypeStruct`) of the variables, and of the outputs for a 32 x 32 image."""

    variables: Variables
    outputs: Outputs


def init_heads(model: GTN, seed: int, traced: Traced) -> Variables:
    """The part of `init_variables(model, seed)["params"]` that is not the backbone's.

    Tracing and compiling a deep backbone takes seconds; here it is neither traced again nor
    compiled.

    Args:
        model: any GTN.
        seed: of the initializers.
        traced: from `trace`.
    """
    auxiliary = traced.variables["params"].get("aux_classifier")

    def init(key: jax.Array) -> Variables:
        def zeros(width: int) -> jax.Array:
            return jnp.zeros((1, width), jnp.float32)

        # Gated features may be of another width.
        last = zeros(traced.outputs.features.shape[1])
        before = None if auxiliary is None else zeros(auxiliary["fc"]["kernel"].shape[0])
        return dict(model.init(key, Pooled(last, before), False, method=GTN.heads)["params"])

    return _run_once(init, seed)


def _run_once(init: Callable[[jax.Array], Variables], seed: int) -> Variables:
    # On a CPU, optimizing this takes far longer than running it (ResNet-20: 11 s, unoptimized 2 s).
    is_cpu = jax.default_backend() == "cpu"
    options = {"xla_backend_optimization_level": 0} if is_cpu else None

    def draw(seed: jax.Array) -> Variables:
        return init(jax.random.key(seed))

    # Without x64, a key uses only these bits of its seed.
    return jax.jit(draw, compiler_options=options)(np.uint32(seed % 2**32))


def trace(model: GTN) -> Traced:
    """Trace the shapes of a model; nothing is computed."""

    def init() -> tuple[Outputs, Variables]:
        images = jnp.zeros((1, 32, 32, 3), jnp.float32)
        outputs, variables = model.init_with_output(jax.random.key(0), images, False)
        return outputs, dict(variables)

    outputs, variables = jax.eval_shape(init)
    return Traced(dict(variables), outputs)


def variable_shapes(model: GTN) -> Variables:
    """Shapes of the variables."""
    return trace(model).variables

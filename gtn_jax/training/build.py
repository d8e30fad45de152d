"""A config -> the model with its start, and the compiled programs of a run."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from gtn_jax.arrays import Batch, PooledBatch, ResidentImages, RowBatch, Variables
from gtn_jax.config import Config, override
from gtn_jax.data import augment
from gtn_jax.models.gtn import GTN, init_variables, variable_shapes
from gtn_jax.training.forward_steps import (
    EvaluationStep,
    GatedStep,
    PoolingStep,
    ProbabilitiesStep,
    make_evaluation_step,
    make_gated_step,
    make_pooling_step,
    make_probabilities_step,
)
from gtn_jax.training.optimizer import Optimizer, build_optimizer, relative_schedule
from gtn_jax.training.resident import ResidentStep, make_resident_step
from gtn_jax.training.run_folder import Preprocessing
from gtn_jax.training.state import TrainState
from gtn_jax.training.steps import (
    HeadStep,
    Metrics,
    TrainStep,
    make_head_step,
    make_train_step,
)
from gtn_jax.weights.hub import PREFIX as HUB_PREFIX
from gtn_jax.weights.pretrained import load_weights
from gtn_jax.weights.registry import IMAGENET_MEAN, IMAGENET_STD, resolve


class Programs(NamedTuple):
    """The jitted functions of a run.

    Attributes:
        optimizer: that the training steps use.
        train_step: (frozen trunk?, small images?) -> step; donates its state.
        resident_step: the same and the mesh -> a step that gathers resident images itself; donates
            its state.
        head_step: that of a frozen trunk whose features are given; donates its state.
        gated_step: variables, batch, mirror -> what the classifiers see.
        pooling_step: variables, batch, key, rows -> these features, of one view of each image.
        evaluation_step: variables, batch -> Sums, Answers.
        probabilities_step: variables, batch -> float32 B N.
    """

    optimizer: Optimizer
    train_step: Callable[[bool, bool], TrainStep]
    resident_step: Callable[[bool, bool, Mesh], ResidentStep]
    head_step: HeadStep
    gated_step: GatedStep
    pooling_step: PoolingStep
    evaluation_step: EvaluationStep
    probabilities_step: ProbabilitiesStep

    def take_step(
        self,
        state: TrainState,
        batch: Batch | RowBatch | PooledBatch,
        frozen: bool,
        small: bool,
        resident: ResidentImages | None,
        mesh: Mesh,
    ) -> tuple[TrainState, Metrics]:
        """One training step, by the program that the batch is for; donates the state.

        Args:
            state: before it.
            batch: on the devices of `mesh`.
            frozen: whether the trunk stands still.
            small: whether images are small.
            resident: the images that a batch of rows is of.
            mesh: of the run.
        """
        if isinstance(batch, PooledBatch):
            return self.head_step(state, batch)
        if isinstance(batch, RowBatch):
            assert resident is not None
            return self.resident_step(frozen, small, mesh)(state, resident, batch)
        return self.train_step(frozen, small)(state, batch)


def build_module(config: Config, num_classes: int) -> GTN:
    """The module of a config, without numbers."""
    section = config.model
    return GTN(
        backbone=section.backbone,
        num_classes=num_classes,
        gate=section.gate,
        stages=section.stages,
        gate_reduction=section.gate_reduction,
        gate_dropout=section.gate_dropout,
        classifier_dropout=section.classifier_dropout,
        classifier_bias=section.classifier_bias,
        auxiliary=section.aux_weight > 0,
        torch_running_variance=section.torch_running_variance,
        rematerialise=config.training.rematerialise == "blocks",
        dtype=jnp.dtype(section.compute_dtype),
    )


def check_model(config: Config) -> None:
    """Refuse a network, or weights, that cannot be had; for work that starts with something else.

    Weights of a hub are not fetched for it.

    Raises:
        ValueError: as `build_model`, but for weights of another network or of a hub.
    """
    variable_shapes(build_module(config, num_classes=2))
    weights = config.model.weights
    if weights is not None and not weights.startswith(HUB_PREFIX):
        resolve(weights)


def build_model(config: Config, num_classes: int) -> tuple[GTN, Variables, Preprocessing]:
    """The model of a config, its start, and how its images are normalised.

    Raises:
        ValueError: unknown names, or weights that do not fit.
    """
    model = build_module(config, num_classes)
    weights = config.model.weights
    if weights is None:
        return model, init_variables(model, config.seed), Preprocessing(IMAGENET_MEAN, IMAGENET_STD)
    variables = load_weights(model, weights, config.seed, config.model.weights_heads)
    _, info = resolve(weights)
    return model, variables, Preprocessing(info.mean, info.std)


def build_programs(
    config: Config,
    model: GTN,
    preprocessing: Preprocessing,
    steps_per_epoch: int,
    batch_size: int | None = None,
) -> Programs:
    """The programs of a run; runs that differ only in seed and peak rates share them.

    Args:
        config: of the run.
        model: of `build_model`, as is `preprocessing`.
        preprocessing: how images are normalised.
        steps_per_epoch: turns the schedule's epochs into steps.
        batch_size: images of a full batch; None: as many as the config says.
    """
    own = {"seed": 0, "optimizer.learning_rate": 1.0, "optimizer.head_learning_rate": None}
    shared = override(config, own | ({"data.batch_size": batch_size} if batch_size else {}))
    # Modules and configs are frozen and hash by value; Linen does not declare it.
    return _build_programs(shared, cast(Any, model), preprocessing, steps_per_epoch)


@functools.lru_cache(maxsize=32)
def _build_programs(
    config: Config, model: GTN, preprocessing: Preprocessing, steps_per_epoch: int
) -> Programs:
    section, training = config.optimizer, config.training
    parts = training.accumulation_steps
    optimizer = build_optimizer(
        section.momentum,
        section.weight_decay,
        relative_schedule(
            section.schedule,
            steps_per_epoch,
            training.epoch_count,
            section.warmup_epochs,
            section.boundaries_epochs,
            section.decay_factor,
            section.warmup_share,
            section.full_rate_steps,
            training.steps,
        ),
        training.freeze_epochs * steps_per_epoch,
        section.l2_sp,
        training.trainable,
        training.ema_decay,
        section.name,
        section.decayed == "all" or (section.decayed == "auto" and section.name == "sgd"),
        training.frozen_stages,
        training.start_share,
    )

    def transform(small: bool) -> augment.Transform:
        return augment.training_transform(
            *preprocessing,
            bool(config.data.random_flip),
            config.data.random_shift_pixels,
            config.data.small_image_size if small else config.data.image_size,
            config.data.random_resized_crop,
            config.data.crop_min_area,
        )

    def pure_step(frozen: bool, small: bool) -> TrainStep:
        statistics = training.frozen_batch_norm if frozen else training.batch_norm
        return make_train_step(
            model,
            optimizer,
            transform(small),
            config.model.aux_weight,
            backbone_gradient=not (frozen and training.freeze_mode == "no_grad"),
            freeze_batch_norm=statistics == "running",
            micro_batch_size=None if parts == 1 else config.data.batch_size // parts,
            label_smoothing=training.label_smoothing,
            mixup_alpha=training.mixup_alpha,
        )

    @functools.cache
    def train_step(frozen: bool, small: bool) -> TrainStep:
        return jax.jit(pure_step(frozen, small), donate_argnums=0)

    @functools.cache
    def resident_step(frozen: bool, small: bool, mesh: Mesh) -> ResidentStep:
        return jax.jit(make_resident_step(pure_step(frozen, small), mesh), donate_argnums=0)

    head_step = jax.jit(
        make_head_step(
            model, optimizer, config.model.aux_weight, label_smoothing=training.label_smoothing
        ),
        donate_argnums=0,
    )
    pooling_step = jax.jit(make_pooling_step(model, transform(small=False)))
    evaluation_transform = augment.evaluation_transform(*preprocessing)
    gated_step = jax.jit(make_gated_step(model, evaluation_transform))
    mirror = config.data.mirror_evaluation
    evaluation_step = jax.jit(make_evaluation_step(model, evaluation_transform, mirror))
    probabilities_step = jax.jit(make_probabilities_step(model, evaluation_transform, mirror))
    return Programs(
        optimizer,
        train_step,
        resident_step,
        head_step,
        gated_step,
        pooling_step,
        evaluation_step,
        probabilities_step,
    )

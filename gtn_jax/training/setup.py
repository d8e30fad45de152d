"""What a run computes with: devices, data, model and programs, from a config.

Shared by training, dry runs, the rate finder, head sweeps, benchmarks, and readers of run folders.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gtn_jax.arrays import Variables
from gtn_jax.config import Config, override
from gtn_jax.data import augment, pipeline
from gtn_jax.data.images import View, open_images
from gtn_jax.data.sources import open_data
from gtn_jax.data.subsets import Subset, choose
from gtn_jax.data.targets import batch_transform
from gtn_jax.devices import Devices, data_mesh, replicate
from gtn_jax.models.gtn import GTN, init_variables, variable_shapes
from gtn_jax.runs.folder import Preprocessing
from gtn_jax.training.averaging import with_average
from gtn_jax.training.forward_steps import (
    EvaluationStep,
    GatedStep,
    PoolingStep,
    ProbabilitiesStep,
    make_evaluation_step,
    make_forward,
    make_gated_step,
    make_pooling_step,
    make_probabilities_step,
)
from gtn_jax.training.image_store import with_resident_images
from gtn_jax.training.losses import gtn_loss
from gtn_jax.training.optimizer import (
    BACKBONE,
    build_optimizer,
    count_trainable,
    parameter_groups,
    relative_schedule,
)
from gtn_jax.training.resolution import is_frozen, resolve, total_steps
from gtn_jax.training.state import TrainState, create_state
from gtn_jax.training.steps import Metrics, TrainStep, make_train_step
from gtn_jax.weights import registry
from gtn_jax.weights.hub import PREFIX as HUB_PREFIX
from gtn_jax.weights.pretrained import load_weights
from gtn_jax.weights.registry import IMAGENET_MEAN, IMAGENET_STD

SELECTED_ON = {"val": "validation", "test_best": "test"}
"""`training.select` -> the split that selects; none for "last". Without that split, the last step
is selected."""


def watched_split(config: Config) -> str:
    """The split that is evaluated during training: the one that selects, else validation."""
    return SELECTED_ON.get(config.training.select, "validation")


class Programs(NamedTuple):
    """The jitted functions of a run.

    Attributes:
        optimizer: of the training steps.
        train_step: (frozen backbone?, small images?) -> step, which donates its state. Takes
            batches of features only if frozen.
        gated_step: variables, batch, mirror -> inputs of the classifiers.
        pooling_step: variables, batch, key, rows -> features of one view of each image.
        evaluation_step: variables, batch -> MetricTotals, Predictions.
        probabilities_step: variables, batch -> float32 B N.
    """

    optimizer: optax.GradientTransformationExtraArgs
    train_step: Callable[[bool, bool], TrainStep]
    gated_step: GatedStep
    pooling_step: PoolingStep
    evaluation_step: EvaluationStep
    probabilities_step: ProbabilitiesStep

    def take_step(
        self, state: TrainState, batch: Any, frozen: bool, small: bool
    ) -> tuple[TrainState, Metrics]:
        """One training step; donates the state."""
        return self.train_step(frozen, small)(state, batch)


def build_module(config: Config, num_classes: int) -> GTN:
    """The module of a config."""
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
        remat=config.training.remat == "blocks",
        dtype=jnp.dtype(section.compute_dtype),
    )


def check_model(config: Config) -> None:
    """Check that the model can be built, and that local weights exist and are undamaged.

    Whether they fit is checked by `load_variables`; nothing is downloaded here.

    Raises:
        ValueError: an unknown architecture, or missing or damaged weights.
    """
    variable_shapes(build_module(config, num_classes=2))
    weights = config.model.weights
    if weights is not None and not weights.startswith(HUB_PREFIX):
        registry.resolve(weights)


def preprocessing_of(config: Config) -> Preprocessing:
    """Normalization that a config's weights expect; ValueError for unknown weights. May download
    the weights."""
    weights = config.model.weights
    if weights is None:
        return Preprocessing(IMAGENET_MEAN, IMAGENET_STD)
    _, info = registry.resolve(weights)
    return Preprocessing(info.mean, info.std)


def load_variables(config: Config, model: GTN) -> Variables:
    """Initial variables: pretrained if the config has weights, which must fit (ValueError).

    Gate and classifiers are new, unless `model.load_heads`.
    """
    weights = config.model.weights
    if weights is None:
        return init_variables(model, config.seed)
    heads = "load" if config.model.load_heads else "fresh"
    return load_weights(model, weights, config.seed, heads)


def initial_state(config: Config, programs: Programs, variables: Variables) -> TrainState:
    """The state of a run before step 0."""
    rate, head_rate = config.optimizer.rates
    averages = config.training.ema_decay > 0 or config.training.start_share > 0
    return create_state(variables, programs.optimizer, rate, config.seed, head_rate, averages)


def trainable_parameters(config: Config, params: Any) -> int:
    """Number of parameters that a run of a resolved config trains."""
    training = config.training
    groups = parameter_groups(training.trainable, training.frozen_stages)
    return count_trainable(params, groups, (BACKBONE,) if is_frozen(config) else ())


def build_programs(
    config: Config,
    model: GTN,
    preprocessing: Preprocessing,
    steps_per_epoch: int,
    batch_size: int | None = None,
) -> Programs:
    """The programs of a run; runs that differ only in seed and peak learning rates share them.

    Args:
        preprocessing: normalization of the images.
        steps_per_epoch: converts the schedule's epochs to steps.
        batch_size: of a full batch; None: the config's.
    """
    shared_values: dict[str, Any] = {
        "seed": 0,
        "optimizer.learning_rate": 1.0,
        "optimizer.head_learning_rate": None,
    }
    shared = override(
        config, shared_values | ({"data.batch_size": batch_size} if batch_size else {})
    )
    # Linen modules hash by value, but are not declared hashable.
    return _build_programs(shared, cast(Any, model), preprocessing, steps_per_epoch)


@functools.lru_cache(maxsize=32)
def _build_programs(
    config: Config, model: GTN, preprocessing: Preprocessing, steps_per_epoch: int
) -> Programs:
    optimizer = _optimizer(config, steps_per_epoch)

    @functools.cache
    def train_step(frozen: bool, small: bool) -> TrainStep:
        step = _train_step(config, model, optimizer, preprocessing, frozen, small)
        return jax.jit(step, donate_argnums=0)

    transform = augment.evaluation_transform(*preprocessing)
    forward = make_forward(model, transform, config.data.mirror_evaluation)
    views = _image_transform(config, preprocessing, small=False)
    return Programs(
        optimizer,
        train_step,
        jax.jit(make_gated_step(model, transform)),
        jax.jit(make_pooling_step(model, views)),
        jax.jit(make_evaluation_step(forward)),
        jax.jit(make_probabilities_step(forward)),
    )


def _optimizer(config: Config, steps_per_epoch: int) -> optax.GradientTransformationExtraArgs:
    section, training = config.optimizer, config.training
    schedule = relative_schedule(
        section.schedule,
        steps_per_epoch,
        epochs=training.epoch_count,
        warmup_epochs=section.warmup_epochs,
        boundaries_epochs=section.boundaries_epochs,
        decay_factor=section.decay_factor,
        warmup_share=section.warmup_share,
        full_rate_steps=section.full_rate_steps,
        steps=training.steps,
    )
    decays_all = section.decayed == "all" or (section.decayed == "auto" and section.name == "sgd")
    return build_optimizer(
        momentum=section.momentum,
        weight_decay=section.weight_decay,
        schedule=schedule,
        frozen_steps=training.freeze_epochs * steps_per_epoch,
        l2_sp=section.l2_sp,
        name=section.name,
        decays_all=decays_all,
        groups=parameter_groups(training.trainable, training.frozen_stages),
    )


def _image_transform(
    config: Config, preprocessing: Preprocessing, small: bool
) -> augment.Transform:
    data = config.data
    return augment.training_transform(
        *preprocessing,
        random_flip=bool(data.random_flip),
        random_shift_pixels=data.random_shift_pixels,
        image_size=data.small_image_size if small else data.image_size,
        random_resized_crop=data.random_resized_crop,
        crop_min_area=data.crop_min_area,
    )


def _train_step(
    config: Config,
    model: GTN,
    optimizer: optax.GradientTransformationExtraArgs,
    preprocessing: Preprocessing,
    frozen: bool,
    small: bool,
) -> TrainStep:
    training, parts = config.training, config.training.accumulation_steps
    transform = batch_transform(
        _image_transform(config, preprocessing, small),
        model.num_classes,
        label_smoothing=training.label_smoothing,
        mixup=training.mixup_alpha,
    )
    groups = parameter_groups(training.trainable, training.frozen_stages)
    without_gradient = [pattern for pattern, group in groups if group is None]
    if frozen and training.freeze_mode == "no_grad":
        without_gradient.append(BACKBONE)
    step = make_train_step(
        model,
        optimizer,
        transform,
        gtn_loss(config.model.aux_weight),
        frozen=without_gradient,
        batch_norm=training.frozen_batch_norm if frozen else training.batch_norm,
        micro_batch_size=None if parts == 1 else config.data.batch_size // parts,
    )
    if training.ema_decay or training.start_share:
        step = with_average(step, training.ema_decay, training.start_share)
    return with_resident_images(step)


@dataclasses.dataclass(frozen=True)
class Epoch:
    """Size of an epoch: images, and steps of one batch each.

    `batch_size` is less than the config's if there are fewer images.
    """

    images: int
    batch_size: int
    steps: int


@dataclasses.dataclass(frozen=True)
class RunSetup:
    """What a run computes with; compiles and loads nothing until it is needed.

    Attributes:
        config: resolved.
        classes: names in label order.
        preprocessing: normalization of the images.
        mesh: the devices that share each batch.
        epoch: its size.
    """

    config: Config
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    mesh: Mesh
    epoch: Epoch

    @property
    def model(self) -> GTN:
        """The module."""
        return build_module(self.config, len(self.classes))

    @property
    def programs(self) -> Programs:
        """The jitted functions, shared by setups that differ only in seed and peak rates."""
        return build_programs(
            self.config, self.model, self.preprocessing, self.epoch.steps, self.epoch.batch_size
        )

    @property
    def total_steps(self) -> int:
        """Training steps of the whole run."""
        return total_steps(self.config, self.epoch.steps)

    @property
    def evaluation_batch(self) -> int:
        """`data.eval_batch_size`, rounded up to a multiple of the number of devices."""
        return -(-self.config.data.eval_batch_size // self.mesh.size) * self.mesh.size

    def with_config(self, config: Config) -> "RunSetup":
        """The same run with another config."""
        return dataclasses.replace(self, config=config)

    def state(self, variables: Variables) -> TrainState:
        """The state before step 0, on all devices."""
        return replicate(initial_state(self.config, self.programs, variables), self.mesh)

    def template(self) -> TrainState:
        """Shapes, dtypes and shardings of the state, to load a checkpoint."""
        sharding = NamedSharding(self.mesh, PartitionSpec())
        return jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
            jax.eval_shape(
                lambda variables: initial_state(self.config, self.programs, variables),
                variable_shapes(self.model),
            ),
        )


def setup_of(
    config: Config,
    classes: tuple[str, ...],
    preprocessing: Preprocessing | None = None,
    devices: Devices = None,
    epoch: Epoch | None = None,
) -> RunSetup:
    """A setup without data, for an existing run (of a resolved config) or synthetic images.

    Defaults: preprocessing of the weights, all devices, an epoch of one full batch.
    """
    mesh = data_mesh(devices)
    preprocessing = preprocessing or preprocessing_of(config)
    batch_size = config.data.batch_size
    return RunSetup(config, classes, preprocessing, mesh, epoch or Epoch(batch_size, batch_size, 1))


def open_setup(
    config: Config, devices: Devices = None, preprocessing: Preprocessing | None = None
) -> tuple[RunSetup, dict[str, Subset]]:
    """The setup of a run, and its images by split, not yet decoded; resolves the config.

    Paths have to be absolute. `preprocessing` defaults to that of the weights.

    Raises:
        ValueError: unusable data, weights, architecture or devices.
    """
    mesh = data_mesh(devices)
    parts = choose(open_data(config.data), config.data, config.seed)
    check_parts(config, parts)
    epoch = epoch_of(config, parts["train"], mesh.size)
    config = resolve(config, epoch.images, epoch.batch_size, epoch.steps)
    classes = parts["train"].split.classes
    return RunSetup(config, classes, preprocessing or preprocessing_of(config), mesh, epoch), parts


def epoch_of(config: Config, train: Subset, devices: int) -> Epoch:
    """The size of an epoch, before any image is decoded.

    Raises ValueError if this number of devices cannot share a batch.
    """
    images = open_images(train, View.of(config.data, training=True)).epoch_images
    shares = devices, config.training.accumulation_steps
    batch_size = pipeline.fit_batch_size(config.data.batch_size, images, *shares)
    steps = pipeline.steps_per_epoch(images, batch_size, config.data.last_batch)
    return Epoch(images, batch_size, steps)


def check_parts(config: Config, parts: dict[str, Subset]) -> None:
    """Check that this config can train on these images, before any is decoded.

    Raises ValueError for a single class, no test split to select on, or a feature cache of videos.
    """
    data = config.data
    classes = parts["train"].split.classes
    if len(classes) < 2:
        names = ", ".join(classes)
        raise ValueError(f"data.name: {data.name} has one class ({names}); bring at least two")
    if data.feature_cache_views and parts["train"].split.clips:
        raise ValueError(
            f"data.feature_cache_views: {data.name} holds videos, whose frames differ by epoch; "
            "set it to 0"
        )
    if config.training.select == "test_best" and "test" not in parts:
        raise ValueError(f"training.select: {data.name} has no test split; use val or last")

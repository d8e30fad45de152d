"""What a run computes with: devices, data, model and programs, from a config.

Shared by training, dry runs, the rate finder, head sweeps, benchmarks, and readers of run folders.
"""

import dataclasses

import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from gtn_jax.arrays import Variables
from gtn_jax.config import Config
from gtn_jax.data import pipeline
from gtn_jax.data.images import Images, View, load, open_images
from gtn_jax.data.sources import open_data
from gtn_jax.data.subsets import Subset, choose
from gtn_jax.devices import Devices, data_mesh, replicate
from gtn_jax.models.gtn import GTN, variable_shapes
from gtn_jax.runs.folder import Preprocessing
from gtn_jax.training.image_store import place_images
from gtn_jax.training.programs import (
    Programs,
    build_module,
    build_programs,
    initial_state,
    preprocessing_of,
)
from gtn_jax.training.resolution import resolve, total_steps
from gtn_jax.training.state import TrainState

SELECTED_ON = {"val": "validation", "test_best": "test"}
"""`training.select` -> the split that selects; none for "last". Without that split, the last step
is selected."""


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


def load_images(
    config: Config, parts: dict[str, Subset], mesh: jax.sharding.Mesh
) -> dict[str, Images]:
    """All splits in the config's view: whole images to crop in training, squares elsewhere.

    Raises ValueError like `check_parts`, for an unreadable image, or if images do not fit where the
    config says.
    """
    check_parts(config, parts)
    data = config.data
    train = open_images(parts["train"], View.of(data, training=True))
    images = {"train": place_images(train, data.image_store, mesh)}
    view = View.of(data, training=False)
    return images | {name: load(parts[name], view) for name in parts if name != "train"}


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

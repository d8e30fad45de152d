"""Methods of a comparison, as named changes of an experiment's config.

Data, augmentation, epochs, learning rate schedule and initialization of the classifiers are the
experiment's, and so is the number of frozen epochs, except for methods that are about freezing.
The learning rates of each method are tuned (tuning.py).
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from gtn_jax.config import Config, ModelConfig, override
from gtn_jax.errors import ArgumentError, unknown_name


class Method(NamedTuple):
    """An entry of `METHODS`.

    Attributes:
        about: one-line description.
        gate: `model.gate`.
        auxiliary: whether there is an auxiliary classifier, with the experiment's
            `model.aux_weight`, or the paper's 0.2 if that is 0.
        frozen: fraction of the epochs with a frozen backbone; None: the experiment's
            `training.freeze_epochs`.
        changes: further config fields by dotted name, e.g. {"training.ema_decay": 0.9}; they take
            precedence, but cannot set the learning rates and `seed`.
        solved: given pretrained weights, solve the classifier and train nothing.
    """

    about: str
    gate: str = "none"
    auxiliary: bool = False
    frozen: float | None = None
    changes: Mapping[str, Any] = MappingProxyType({})
    solved: bool = False


class Rates(NamedTuple):
    """Peak learning rates of backbone and head (gate, classifiers); None for untrained methods."""

    backbone: float | None
    head: float | None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> "Rates":
        """Rates of a row of a comparison; older rows have one rate for both."""
        rate = row["learning_rate"]
        return cls(rate, row.get("head_learning_rate", rate))

    def fields(self) -> dict[str, float | None]:
        """The fields of a row."""
        return {"learning_rate": self.backbone, "head_learning_rate": self.head}


UNTRAINED = Rates(None, None)

METHODS = {
    "linear_probe": Method("a linear classifier on the pretrained features", frozen=1, solved=True),
    "finetune": Method("backbone and linear classifier"),
    "finetune_frozen_start": Method(
        "the same, frozen for the authors' fraction of epochs", frozen=0.21
    ),
    "aux": Method("fine-tuning with the auxiliary classifier", auxiliary=True),
    "gate": Method("the paper's gate alone", gate="sigmoid"),
    "gtn": Method("the paper: its gate and the auxiliary classifier", "sigmoid", auxiliary=True),
    "gate_identity": Method("a gate that starts at the identity", gate="identity"),
    "gtn_identity": Method("that gate and the auxiliary classifier", "identity", auxiliary=True),
    "half": Method("features times 1/2, as an untrained sigmoid gate", gate="half"),
    "constant": Method("one learned factor per channel, the same for all images", gate="constant"),
    "mlp": Method("the gate's parameters as a residual MLP, no gate", gate="mlp"),
    "l2_sp": Method(
        "fine-tuning with L2 regularization to the start (arXiv 1802.01483)",
        changes={"optimizer.l2_sp": 0.1},
    ),
    "lp_ft": Method("half of the epochs train the classifier only (arXiv 2202.10054)", frozen=0.5),
    "bn_only": Method(
        "classifier and BatchNorm only (arXiv 2003.00152)",
        changes={"training.trainable": "batch_norm"},
    ),
}
"""Name -> method. `l2_sp` has that paper's usual strength. Experiment files may add entries."""


def method_config(
    config: Config,
    method: str,
    learning_rate: float | None,
    seed: int,
    head_learning_rate: float | None = None,
) -> Config:
    """The config of one run: a method, its rates and a seed, applied to a resolved experiment.

    Without `learning_rate` the experiment's rates; without `head_learning_rate` the backbone's.
    """
    own = METHODS[method]
    epochs = config.training.epoch_count
    values: dict[str, Any] = {
        "model.gate": own.gate,
        "optimizer.l2_sp": 0.0,
        "training.trainable": "all",
        "seed": seed,
    }
    if learning_rate is not None:
        is_same = head_learning_rate == learning_rate
        values["optimizer.learning_rate"] = learning_rate
        values["optimizer.head_learning_rate"] = None if is_same else head_learning_rate
    if not own.auxiliary:
        values["model.aux_weight"] = 0.0
    elif config.model.aux_weight == 0:
        values["model.aux_weight"] = ModelConfig().aux_weight
    if own.frozen is not None:
        values["training.freeze_epochs"] = max(1, round(own.frozen * epochs))
    if own.solved and config.model.weights is not None and not config.model.load_heads:
        values |= {
            "training.head_start": "solved",
            "training.epochs": 0,
            "training.steps": None,
            "training.freeze_epochs": 0,
            "data.feature_cache_views": 0,
        }
    return override(config, {**values, **own.changes})


def is_untrained(config: Config) -> bool:
    """Whether a run of a resolved config takes no step."""
    steps = config.training.steps
    return (config.training.epoch_count if steps is None else steps) == 0


def is_frozen(config: Config) -> bool:
    """Whether a run never changes its backbone, including BatchNorm statistics."""
    training = config.training
    return (
        training.freeze_epochs >= training.epoch_count
        and training.freeze_mode == "no_grad"
        and training.frozen_batch_norm == "running"
    )


def check_methods(config: Config, methods: Sequence[str]) -> None:
    """Refuse methods that cannot be compared, as far as that is known without a resolved config.

    Raises:
        ValueError: no method; an unknown one; one that sets a field of the comparison.
    """
    if not methods:
        raise ArgumentError("methods", "none given; name at least one (`gtn list methods`)")
    for method in methods:
        if method not in METHODS:
            raise ArgumentError("methods", str(unknown_name("method", method, METHODS)))
        for field in METHODS[method].changes.keys() & _SET_BY_COMPARISON:
            raise ValueError(f"method {method}: {field} is set by the comparison; leave it out")
        try:
            method_config(config, method, None, 0)
        except ValueError as error:
            raise ValueError(f"method {method}: {error}") from error


_SET_BY_COMPARISON = {"optimizer.learning_rate", "optimizer.head_learning_rate", "seed"}


def check_runs(config: Config, methods: Sequence[str]) -> None:
    """Refuse to compare a method with itself; `config` is resolved.

    Raises:
        ValueError: a method is named twice, or two methods would be the same runs.
    """
    seen: dict[Config, str] = {}
    for method in methods:
        asked = method_config(config, method, None, 0)
        if asked.training.freeze_epochs >= asked.training.epoch_count:
            # These changes have no effect on a frozen backbone.
            asked = override(asked, {"optimizer.l2_sp": 0.0, "training.trainable": "all"})
        if asked in seen:
            raise ArgumentError(
                "methods",
                f"{seen[asked]} and {method} are the same runs with "
                f"training.freeze_epochs {config.training.freeze_epochs} of "
                f"{config.training.epoch_count}; leave one out",
            )
        seen[asked] = method

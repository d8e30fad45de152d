"""What a comparison compares: methods as named changes of one experiment's config, not as code.

Everything else (data, augmentation, epochs, schedule of the rate) is the experiment's, and so is
the number of frozen epochs, but for the methods that are about freezing. Each method's learning
rate is tuned: see tuning.py.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from gtn_jax.config import Config, override
from gtn_jax.errors import UsageError, unknown_name


class Method(NamedTuple):
    """One row of `METHODS`.

    Attributes:
        about: what it is, in a line.
        gate: `model.gate`.
        auxiliary: whether the experiment's `model.aux_weight` stays; else it is 0.
        frozen: share of the epochs in which the trunk is frozen; None: the experiment's
            `training.freeze_epochs`.
        changes: further fields by their dotted names, e.g. {"training.ema_decay": 0.9}; they have
            the last word, but for `optimizer.learning_rate` and `seed`, which no method sets.
    """

    about: str
    gate: str = "none"
    auxiliary: bool = False
    frozen: float | None = None
    changes: Mapping[str, Any] = MappingProxyType({})


METHODS = {
    "linear_probe": Method("a linear classifier on the features of the trunk as it came", frozen=1),
    "finetune": Method("trunk and linear classifier"),
    "finetune_frozen_start": Method("the same, frozen as long as the authors' runs", frozen=0.21),
    "aux": Method("fine-tuning with the auxiliary classifier", auxiliary=True),
    "gate": Method("the paper's gate alone", gate="sigmoid"),
    "gtn": Method("the paper: its gate and the auxiliary classifier", "sigmoid", auxiliary=True),
    "gate_identity": Method("a gate that starts at the identity", gate="identity"),
    "gtn_identity": Method("that gate and the auxiliary classifier", "identity", auxiliary=True),
    "half": Method("features times 1/2: what a fresh sigmoid gate does", gate="half"),
    "constant": Method("one learned factor a channel, the same for all images", gate="constant"),
    "mlp": Method("the gate's parameters as a residual MLP, no gate", gate="mlp"),
    "l2_sp": Method(
        "fine-tuning that is pulled back to its start (arXiv 1802.01483)",
        changes={"optimizer.l2_sp": 0.1},
    ),
    "lp_ft": Method("half of the epochs the classifier only (arXiv 2202.10054)", frozen=0.5),
    "bn_only": Method(
        "classifier and BatchNorm only (arXiv 2003.00152)",
        changes={"training.trainable": "batch_norm"},
    ),
}
"""Name -> method. `l2_sp` has that paper's usual strength. Open: an experiment file may enter its
own."""


def method_config(config: Config, method: str, learning_rate: float, seed: int) -> Config:
    """The config of one run of a comparison.

    Args:
        config: of the experiment.
        method: a name in `METHODS`.
        learning_rate: peak.
        seed: of the run.
    """
    own = METHODS[method]
    epochs = config.training.epoch_count
    values: dict[str, Any] = {
        "model.gate": own.gate,
        "optimizer.l2_sp": 0.0,
        "optimizer.learning_rate": learning_rate,
        "training.trainable": "all",
        "seed": seed,
    }
    if not own.auxiliary:
        values["model.aux_weight"] = 0.0
    if own.frozen is not None:
        values["training.freeze_epochs"] = max(1, round(own.frozen * epochs))
    return override(config, {**values, **own.changes})


def is_frozen(config: Config) -> bool:
    """Whether a run's trunk never moves, in no respect, so that all it does is give features."""
    training = config.training
    return (
        training.freeze_epochs >= training.epoch_count
        and training.freeze_mode == "no_grad"
        and training.frozen_batch_norm == "running"
    )


def check_methods(config: Config, methods: Sequence[str]) -> None:
    """Refuse what would compare a thing with itself, or with nothing.

    Raises:
        ValueError: no method; an unknown one; one named twice; one that needs an auxiliary
            classifier where the experiment has none, or changes what it cannot; two that would be
            the same runs.
    """
    if not methods:
        raise UsageError("--methods: none given; name at least one (`gtn list methods`)")
    seen: dict[Config, str] = {}
    for method in methods:
        if method not in METHODS:
            raise UsageError(str(unknown_name("method", method, METHODS)))
        if METHODS[method].auxiliary and config.model.aux_weight == 0:
            raise ValueError(f"method {method} needs model.aux_weight > 0 in the experiment")
        for field in METHODS[method].changes.keys() & {"optimizer.learning_rate", "seed"}:
            raise ValueError(f"method {method}: {field} is set by the comparison; leave it out")
        try:
            asked = method_config(config, method, 1.0, 0)
        except ValueError as error:
            raise ValueError(f"method {method}: {error}") from error
        if asked.training.freeze_epochs >= asked.training.epoch_count:
            # What it changes concerns a trunk that moves.
            asked = override(asked, {"optimizer.l2_sp": 0.0, "training.trainable": "all"})
        if asked in seen:
            raise UsageError(
                f"--methods: {seen[asked]} and {method} are the same runs with "
                f"training.freeze_epochs {config.training.freeze_epochs} of "
                f"{config.training.epoch_count}; leave one out"
            )
        seen[asked] = method

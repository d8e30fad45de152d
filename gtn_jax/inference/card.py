"""The model card of a run: what it is, how good, made from what, how to use it, what it is not."""

from typing import Any

import jax

from gtn_jax.config import Config
from gtn_jax.runs.provenance import PACKAGES, versions
from gtn_jax.weights.hub import PREFIX
from gtn_jax.weights.registry import HUB, WEIGHTS

_CARD = """# An image classifier of {count} classes

{backbone} with gate `{gate}`, {parameters:,} parameters, trained with gtn_jax on `{data}`.
Classes: {names}.

| split | accuracy | images |
|---|---|---|
{figures}

Selected by `{select}`; accuracy on the split that selects is a little too high.

- **Started from** {weights}. Their terms go with these numbers: {licence}.
- **Input**: uint8 RGB, {side} x {side} pixels, cut as `preprocessing.json` says. Mean and deviation
  are applied inside.
- **Output**: probabilities in the order of `labels.json`. One of these classes is always named,
  also of an image that shows none of them.
- **Not known**: how good it is on images from elsewhere, and for whom it is worse.

## Use

    pip install jax numpy pillow flatbuffers
    python predict.py IMAGE...

`model.stablehlo` runs on {platforms} and takes any number of images at once. It was written by JAX
{jax_version} and may not load a year from now. `model.safetensors` will: its names are those of the
modules, its header holds the run's config, and gtn_jax reads it:

    from gtn_jax.inference.portable import load_portable
    model, variables, labels = load_portable("THIS FOLDER")

Written with {versions}.
"""


def card(
    config: Config,
    classes: tuple[str, ...],
    summary: dict[str, Any],
    parameters: int,
    platforms: tuple[str, ...],
) -> str:
    """Markdown.

    Args:
        config: of the run, without paths of this machine.
        classes: names in label order.
        summary: of the run; accuracies that it lacks are left out.
        parameters: of the model.
        platforms: that its function was compiled for.
    """
    weights = config.model.weights
    known = {**WEIGHTS, **{PREFIX + name: info for name, info in HUB.items()}}
    licence = known[weights].licence if weights in known else ""
    figures = [
        f"| {split} | {100 * summary[f'{split}_accuracy']:.2f} % | {summary[f'{split}_images']:,} |"
        for split in ("validation", "test")
        if f"{split}_accuracy" in summary
    ]
    found = versions(PACKAGES).items()
    return _CARD.format(
        count=len(classes),
        backbone=config.model.backbone,
        gate=config.model.gate,
        parameters=parameters,
        data=config.data.name,
        names=", ".join(classes[:20]) + (", ..." if len(classes) > 20 else ""),
        figures="\n".join(figures) or "| none was evaluated | | |",
        select=config.training.select,
        weights=f"the weights `{weights}`" if weights else "random numbers",
        licence=licence or ("see where they come from" if weights else "yours"),
        side=config.data.evaluation_size,
        platforms=", ".join(platforms),
        jax_version=jax.__version__,
        versions=", ".join(f"{name} {version}" for name, version in found if version),
    )

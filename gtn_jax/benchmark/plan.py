"""What `gtn benchmark` times, by machine: groups in the order in which they get the time.

More than fits into the default time stands at the end, where it is cut off and reported so.
"""

import dataclasses
from collections.abc import Iterable, Sequence

from gtn_jax.benchmark.spec import Group, Spec
from gtn_jax.errors import UsageError, unknown_name
from gtn_jax.runtime import allocator

TORCH_LAYOUTS = ("nchw", "channels_last", "channels_last_huge_pages")
"""On a CPU. The last one is told what `gtn` tells itself, which no user of PyTorch does."""

HUGE_PAGES = (("GLIBC_TUNABLES", allocator.HUGE_PAGES),)

LEVERS: dict[str, dict[str, str]] = {
    "cpu": {
        "vector_512": "--xla_cpu_prefer_vector_width=512",
        "ynn_convolution": "--xla_cpu_experimental_ynn_fusion_type=+individual_convolution",
        "onednn": "--xla_cpu_use_onednn=true",
    },
    "gpu": {
        "graphs_with_convolutions": "--xla_gpu_enable_command_buffer=+CONVOLUTION",
        "no_graphs": "--xla_gpu_enable_command_buffer=",
        "conv_fusion": "--xla_gpu_experimental_enable_conv_fusion=true",
        "runtime_fusion": "--xla_gpu_use_runtime_fusion=true",
        "latency_hiding": "--xla_gpu_enable_latency_hiding_scheduler=true",
    },
}
"""Platform -> variant -> XLA_FLAGS, each tried on the training step. An unknown flag ends the
child, and its row says so."""


QUICKSTART = Spec("train_step", backbone="resnet8_wide", image_size=32, batch_size=24, classes=10)
"""The network and size of experiments/quickstart.py, but for its shipped weights."""


def _torch(spec: Spec, variants: Iterable[str], kind: str | None = None) -> list[Spec]:
    replace = dataclasses.replace
    peers = [
        replace(spec, kind=kind or spec.kind, framework="torch", variant=variant)
        for variant in variants
    ]
    return [replace(p, env=HUGE_PAGES) if "huge_pages" in p.variant else p for p in peers]


def _limits(platform: str) -> tuple[Spec, ...]:
    gpu = platform == "gpu"
    mib, side = (4096, 8192) if gpu else (256, 2048)
    copies = [Spec("copy", framework, size=mib) for framework in ("jax", "numpy")]
    dtypes = ("bfloat16", "float32") if gpu else ("float32",)
    products = [
        Spec("matmul", framework, size=side, dtype=dtype)
        for dtype in dtypes
        for framework in ("jax", "torch")
    ]
    return (*copies[: 1 if gpu else 2], *products)


def _levers(step: Spec, platform: str) -> tuple[Spec, ...]:
    flags = [
        dataclasses.replace(step, variant=name, env=(("XLA_FLAGS", value),))
        for name, value in LEVERS.get(platform, {}).items()
    ]
    donation = dataclasses.replace(step, variant="no_donation")
    scan = dataclasses.replace(step, variant="scan8", scan=8)
    # A loop on a CPU holds convolutions that XLA does not optimise: minutes a step.
    return (step, *flags, donation, *([] if platform == "cpu" else [scan]))


def _less_memory(step: Spec) -> tuple[Spec, ...]:
    """What saves memory, beside the step that does not."""
    variants = ("rematerialised", "accumulated4")
    return (step, *(dataclasses.replace(step, variant=variant) for variant in variants))


def _network(
    step: Spec, peers: Sequence[str], flax: bool, tag: str, stores: Sequence[str] = ()
) -> list[Group]:
    """Full step, frozen step, real data (also kept in these stores) and evaluation of one net."""
    replace = dataclasses.replace
    real = replace(step, kind="end_to_end", images=64 * step.batch_size)
    ahead = replace(real, variant="prefetch", prefetch=2)
    elsewhere = [replace(real, variant=store) for store in stores]
    frozen, evaluation = replace(step, kind="frozen_step"), replace(step, kind="evaluation")
    flax_peers = [replace(step, framework="flax")] if flax else []
    return [
        Group(f"step{tag}", (step, *flax_peers, *_torch(step, peers)), weight=4),
        Group(f"frozen{tag}", (frozen, step, *_torch(frozen, peers)), weight=2),
        Group(f"end_to_end{tag}", (real, step, ahead, *elsewhere), weight=2),
        Group(f"evaluation{tag}", (evaluation, *_torch(evaluation, peers)), weight=1),
    ]


def _input(image_size: int, batch: int, images: int) -> Group:
    kinds = ("input_decode", "input_resident", "input_host", "input_streamed")
    specs = [Spec(k, batch_size=batch, image_size=image_size, images=images) for k in kinds]
    return Group("input", tuple(specs), weight=0.3, compares=False)


def cpu_plan() -> list[Group]:
    """For a machine without accelerator: batch 16, float32; 710 s on two cores of 2024."""
    step = Spec("train_step")
    small = [
        Spec("train_step", backbone=backbone, image_size=32, batch_size=batch)
        for batch in (128, 64)
        for backbone in ("resnet8_wide", "resnet20")
    ]
    first, *rest = _network(step, TORCH_LAYOUTS, flax=True, tag="")
    plain = dataclasses.replace(step, variant="plain", gate="none", auxiliary=False)
    return [
        Group("limits", _limits("cpu"), weight=0.3, compares=False),
        _input(224, 16, 256),
        first,
        *rest,
        *(
            Group(f"small_{spec.backbone}_{spec.batch_size}", (spec, *_torch(spec, TORCH_LAYOUTS)))
            for spec in small
        ),
        Group("convolutions", (Spec("convolutions"),), compares=False),
        Group("gate", (step, plain)),
        Group("startup", (QUICKSTART, step), rounds=(1, 3), starts=True),
        Group("levers", _levers(step, "cpu")),
    ]


def gpu_plan() -> list[Group]:
    """For one GPU: batches 64 and 256, bfloat16; PyTorch's best is channels_last, AMP, compiled."""
    groups = [
        Group("limits", _limits("gpu"), weight=0.3, compares=False),
        _input(224, 64, 1024),
    ]
    peers = ("amp_channels_last", "amp_channels_last_compile")
    for batch in (64, 256):
        step = Spec("train_step", batch_size=batch, dtype="bfloat16")
        tag = "" if batch == 64 else f"_{batch}"
        groups += _network(step, peers, flax=True, tag=tag, stores=("host", "stream"))
    step = Spec("train_step", batch_size=64, dtype="bfloat16")
    plain = dataclasses.replace(step, variant="plain", gate="none", auxiliary=False)
    table = Spec("convolutions", batch_size=64, dtype="bfloat16")
    return [
        *groups,
        Group("gate", (step, plain)),
        Group("startup", (QUICKSTART, step), rounds=(1, 3), starts=True),
        Group("memory", _less_memory(step)),
        Group("levers", _levers(step, "gpu"), weight=3),
        Group("convolutions", (table,), compares=False),
    ]


def quick_plan() -> list[Group]:
    """Every path on tiny shapes, for the tests; its figures mean nothing."""
    # Unoptimised programs: they compile in a third of the time, and nobody reads their speed.
    env = (("XLA_FLAGS", "--xla_backend_optimization_level=0"),)
    step = Spec("train_step", backbone="resnet8_wide", image_size=16, batch_size=4, env=env)
    real = dataclasses.replace(step, kind="end_to_end", images=8)
    frozen = dataclasses.replace(step, kind="frozen_step")
    flax = dataclasses.replace(step, framework="flax", backbone="resnet20")
    products = [Spec("matmul", framework, size=64) for framework in ("jax", "torch")]
    inputs = [
        Spec(kind, image_size=16, batch_size=4, images=8)
        for kind in ("input_streamed", "input_resident")
    ]
    groups = [
        Group("limits", (Spec("copy", "numpy", size=1), *products)),
        Group("input", tuple(inputs)),
        Group("step", (step, flax, *_torch(step, TORCH_LAYOUTS))),
        Group("frozen", (frozen, step)),
        Group("end_to_end", (real, step)),
        Group("evaluation", (dataclasses.replace(step, kind="evaluation"),)),
        Group("startup", (step,), starts=True, weight=0.1),
    ]
    compared = ("step", "frozen", "end_to_end")
    return [
        dataclasses.replace(
            group,
            compares=group.name in compared,
            rounds=(1, 1 if group.starts else 2),
            repeat_seconds=0.01,
        )
        for group in groups
    ]


def choose(groups: Sequence[Group], only: Sequence[str]) -> list[Group]:
    """The groups named, or all of them.

    Raises:
        ValueError: a name that is no group's.
    """
    names = [group.name for group in groups]
    for name in only:
        if name not in names:
            raise UsageError(str(unknown_name("group", name, names)))
    return [group for group in groups if not only or group.name in only]

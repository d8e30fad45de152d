"""What `gtn benchmark` measures: groups, in the order in which they get the time.

Groups that do not fit are last, and reported as not measured.
"""

from collections.abc import Sequence
from dataclasses import replace

from gtn_jax.benchmark.spec import INPUT, Group, Spec
from gtn_jax.errors import ArgumentError, unknown_name
from gtn_jax.runtime import allocator

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
"""Platform -> variant -> XLA_FLAGS. An unknown flag ends the process, which its row reports."""
QUICKSTART = Spec("train_step", backbone="resnet8_wide", image_size=32, batch_size=24, classes=10)
"""The network and size of experiments/quickstart.py, without its weights."""


def groups(platform: str) -> list[Group]:
    """The groups of one platform; all but "gpu" are measured like a CPU.

    CPU: batch 16 in float32, and small networks. GPU: batches 64 and 256 in bfloat16, PyTorch with
    automatic mixed precision, and memory-saving variants.
    """
    gpu = platform == "gpu"
    step = Spec("train_step", batch_size=16)
    if gpu:
        step = replace(step, batch_size=64, dtype="bfloat16")
    inputs = [Spec(kind, batch_size=step.batch_size, images=16 * step.batch_size) for kind in INPUT]
    levers = [
        replace(step, variant=name, env=(("XLA_FLAGS", flags),))
        for name, flags in LEVERS.get(platform, {}).items()
    ]
    common = [
        Group("gate", _variants(step, "plain")),
        Group("startup", (QUICKSTART, step), rounds=(1, 3), starts=True),
    ]
    if gpu:
        of_platform = [*_network(replace(step, batch_size=256), gpu, "_256"), *common]
        of_platform.append(Group("memory", _variants(step, "rematerialized", "accumulated4")))
    else:
        of_platform = [*_small_networks(), *common]
    return [
        Group("limits", _limits(gpu), weight=0.3, compares=False),
        Group("input", tuple(inputs), weight=0.3, compares=False),
        *_network(step, gpu),
        *of_platform,
        Group("levers", (*_variants(step, "no_donation"), *levers), weight=3 if gpu else 1),
    ]


def _limits(gpu: bool) -> tuple[Spec, ...]:
    mib, side = (4096, 8192) if gpu else (256, 2048)
    frameworks = ("jax",) if gpu else ("jax", "numpy")  # NumPy copies in the host's memory
    copies = [Spec("copy", framework, size=mib) for framework in frameworks]
    products = [
        Spec("matmul", framework, size=side, dtype=dtype)
        for dtype in (("bfloat16", "float32") if gpu else ("float32",))
        for framework in ("jax", "torch")
    ]
    return (*copies, *products)


def _network(step: Spec, gpu: bool, tag: str = "") -> list[Group]:
    frozen, evaluation = replace(step, kind="frozen_step"), replace(step, kind="evaluation")
    flax = replace(step, framework="flax")
    files = replace(step, kind="end_to_end", images=64 * step.batch_size)
    files, *stores = _variants(files, *(("host", "stream") if gpu else ()))
    return [
        Group(f"step{tag}", (step, flax, *_torch(step, gpu)), weight=4),
        Group(f"frozen{tag}", (frozen, step, *_torch(frozen, gpu)), weight=2),
        Group(f"end_to_end{tag}", (files, step, *stores), weight=2),
        Group(f"evaluation{tag}", (evaluation, *_torch(evaluation, gpu))),
    ]


def _small_networks() -> list[Group]:
    small = []
    for batch in (128, 64):
        for backbone in ("resnet8_wide", "resnet20"):
            step = Spec("train_step", backbone=backbone, image_size=32, batch_size=batch)
            small.append(Group(f"small_{backbone}_{batch}", (step, *_torch(step, gpu=False))))
    return small


def _variants(spec: Spec, *names: str) -> tuple[Spec, ...]:
    return (spec, *(replace(spec, variant=name) for name in names))


def _torch(spec: Spec, gpu: bool) -> list[Spec]:
    names = ("amp_channels_last", "amp_channels_last_compile") if gpu else ("nchw", "channels_last")
    _, *peers = _variants(replace(spec, framework="torch"), *names)
    if not gpu:
        # The huge pages of `gtn`, which PyTorch uses if this variable is set.
        env = (("GLIBC_TUNABLES", allocator.HUGE_PAGES),)
        peers.append(replace(peers[-1], variant="channels_last_huge_pages", env=env))
    return peers


def choose(among: Sequence[Group], only: Sequence[str]) -> list[Group]:
    """The groups with these names, or all without names; ArgumentError for an unknown name."""
    names = [group.name for group in among]
    for name in only:
        if name not in names:
            raise ArgumentError("only", str(unknown_name("group", name, names)))
    return [group for group in among if not only or group.name in only]

"""Commands that analyze runs: quickstart, compare, gates, report."""

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from gtn_jax.cli.arguments import command, parse, take_experiment
from gtn_jax.cli.terminal import name_devices, say, set_up_process, show
from gtn_jax.config import Config
from gtn_jax.config.experiment import load_experiment, shipped_folder
from gtn_jax.runs.lock import locked


@dataclasses.dataclass(frozen=True)
class CompareArguments:
    """Arguments of `gtn compare EXPERIMENT`.

    Example: gtn compare quickstart --methods finetune gtn half --seeds 5 --workdir runs/compare
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    """Any field of the experiment's CONFIG; methods override some of them."""
    workdir: Path
    """Folder of the comparison; finished runs in it are kept."""
    methods: tuple[str, ...] = ("finetune", "gtn")
    """From `gtn list methods` or the experiment; the baseline is finetune, or else the first."""
    seeds: int = 5
    """Final runs per method: seeds 0, 1, ..."""
    trials: int = 1
    """Tuning runs per method and pair of rates; each method has 12 pairs."""
    devices: int | None = None
    """Number of devices, with one run at a time on each; default: all accelerators, or one CPU."""


@command("quickstart")
def quickstart(workdir: Path = Path("runs/quickstart"), seeds: int = 3) -> None:
    """Adapt the shipped backbone to digits by three methods, and compare them.

    Example: gtn quickstart --seeds 5

    Args:
        workdir: folder of the comparison; run folders are in WORKDIR/runs.
        seeds: runs per method.
    """
    set_up_process()
    from gtn_jax.analysis import compare as comparison
    from gtn_jax.analysis import comparison_table as tables
    from gtn_jax.analysis.trials import choose_devices
    from gtn_jax.analysis.tuning import best_rates
    from gtn_jax.runs.row_file import read_rows

    config = load_experiment("quickstart")
    # Shipped tuning runs; the experiment's header has their command.
    tuned = read_rows(shipped_folder() / "quickstart_tuning.jsonl")
    methods = ("finetune", "gtn", "gtn_identity")
    devices = choose_devices(1)
    name_devices(devices)
    rates = {method: best_rates(tuned, method) for method in methods}
    with locked(workdir):
        config = comparison.check(config, methods, seeds, 1, workdir)
        per_class = config.data.train_images_per_class
        say(f"{config.model.weights} backbone, {per_class} training images per class of "
             f"{config.data.name}; {len(methods)} methods x {seeds} seeds")  # fmt: skip
        rows = comparison.compare(config, rates, range(seeds), workdir, devices, say)
    summaries = tables.summarize(rows, workdir)
    show(tables.accuracy_table(summaries))
    tables.write_chart(summaries, workdir / "accuracy.svg")
    say(f"time: {tables.where_time_went(rows, workdir)}\nrun folders: {workdir}/runs")


def compare(arguments: list[str]) -> None:
    """Tune each method's rates on validation, then compare them on paired seeds."""
    name, rest = take_experiment(
        arguments, "gtn compare quickstart --methods finetune gtn --seeds 5 --workdir runs/compare"
    )
    default = CompareArguments(load_experiment(name), tyro.MISSING)
    given = parse(CompareArguments, f"gtn compare {name}", rest, default)
    set_up_process()
    from gtn_jax.analysis import compare as comparison
    from gtn_jax.analysis import comparison_table as tables
    from gtn_jax.analysis.trials import choose_devices
    from gtn_jax.weights.recognize import with_backbone

    given = dataclasses.replace(given, config=with_backbone(given.config))
    devices = choose_devices(given.devices)
    name_devices(devices)
    with locked(given.workdir):
        config = comparison.check(
            given.config, given.methods, given.seeds, given.trials, given.workdir
        )
        rows = comparison.tune_and_compare(
            config, given.methods, range(given.seeds), given.trials, given.workdir, devices, say,
        )  # fmt: skip
    summaries = tables.summarize(rows, given.workdir)
    show(tables.accuracy_table(summaries))
    show(tables.cost_table(summaries))
    tables.write_chart(summaries, given.workdir / "accuracy.svg")


@command("gates")
def gates(
    run: Positional[Path],
    split: str = "validation",
    data: str | None = None,
    data_dir: str | None = None,
    out: Path | None = None,
    channels: bool = False,
) -> None:
    """Show what a run's gate learned: openness, classes, dependence on the image.

    Example: gtn gates runs/first --channels

    Args:
        run: run folder.
        split: validation, test or train.
        data: a data set with the same classes; default: the run's own.
        data_dir: folder of prepared data sets; default: the run's own.
        out: folder for gates.npz and gates/*.png; default: the run folder.
        channels: also show accuracy against channels kept, as ranked on training images.
    """
    set_up_process()
    from gtn_jax.analysis import gates as analysis
    from gtn_jax.analysis.channels import curve_of, curve_table
    from gtn_jax.inference.outputs import run_outputs

    name_devices()
    where = run, split, data, data_dir
    outputs = run_outputs(*where)
    statistics = analysis.gate_statistics(outputs)
    for line in analysis.in_lines(outputs, statistics):
        say(line)
    show(analysis.accuracy_table(statistics))
    curve = curve_of(*where) if channels else None
    if curve is not None:
        show(curve_table(curve))
    folder = out or run
    folder.mkdir(parents=True, exist_ok=True)
    analysis.write_gates(folder / "gates.npz", outputs, statistics, split, curve)
    say(f"{folder / 'gates.npz'}: {split}, {len(outputs.labels)} images")
    if analysis.has_matplotlib():
        files = analysis.draw(statistics, outputs.classes, folder / "gates", curve)
        say(f"{folder / 'gates'}: {len(files)} plots")
    else:
        say('no plots without matplotlib: pip install "gtn_jax[plots]"')


@command("report")
def report(
    runs: Positional[tuple[Path, ...]], out: Path | None = None, split: str | None = None
) -> None:
    """Write a self-contained HTML page about runs, or about a comparison.

    Example: gtn report runs/first runs/second --out report.html

    Args:
        runs: run folders, or the folder of a comparison.
        out: file to write; default: report.html in the only folder.
        split: split to show, test or validation; default: test if the run was evaluated on it.
    """
    from gtn_jax.analysis.report import write_report

    say(str(write_report(runs, out, split)))

"""Verbs that understand runs: quickstart, compare, gates, report."""

import argparse
import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from gtn_jax.cli.arguments import parse, take_experiment
from gtn_jax.cli.process import name_devices, set_up_process
from gtn_jax.cli.terminal import say, show
from gtn_jax.config import Config
from gtn_jax.config.experiment import load_experiment, shipped_folder
from gtn_jax.runs.lock import locked

Positional = tyro.conf.Positional


@dataclasses.dataclass(frozen=True)
class CompareArguments:
    """What `gtn compare EXPERIMENT` takes besides the experiment.

    Example: gtn compare quickstart --methods finetune gtn half --seeds 5 --workdir runs/compare
    """

    config: Annotated[Config, tyro.conf.arg(name="")]
    """Any field of the experiment's CONFIG; what methods differ in is theirs to say."""
    workdir: Path
    """Folder of the comparison; finished runs in it are kept."""
    methods: tuple[str, ...] = ("finetune", "gtn")
    """Of `gtn list methods`, or the experiment's own; others are subtracted from finetune, or from
    the first."""
    seeds: int = 5
    """Final runs a method: seeds 0, 1, ..."""
    trials: int = 1
    """Tuning runs a method and pair of rates; each method has 12 pairs, coarse to fine."""
    devices: int | None = None
    """Runs at the same time, a device each; default: all accelerators, or one CPU."""


def quickstart(arguments: list[str]) -> None:
    """Adapt the shipped backbone to digits by three methods, and compare them."""

    def form(workdir: Path = Path("runs/quickstart"), seeds: int = 3) -> tuple[Path, int]:
        """Compare fine-tuning with and without gates on 20 digits a class.

        Example: gtn quickstart --seeds 5

        Args:
            workdir: a run folder a run goes to WORKDIR/runs.
            seeds: runs a method.
        """
        return workdir, seeds

    workdir, seeds = parse(form, "gtn quickstart", arguments)
    set_up_process()
    from gtn_jax.analysis import compare as comparison
    from gtn_jax.analysis import comparison_table as tables
    from gtn_jax.analysis.trials import choose_devices
    from gtn_jax.analysis.tuning import best_rates
    from gtn_jax.runs.row_file import read_rows

    config = load_experiment("quickstart")
    # The tuning runs that ship with the experiment: its header has their command.
    tuned = read_rows(shipped_folder() / "quickstart_tuning.jsonl")
    methods = ("finetune", "gtn", "gtn_identity")
    devices = choose_devices(1)
    name_devices(devices)
    rates = {method: best_rates(tuned, method) for method in methods}
    with locked(workdir):
        config = comparison.check(config, methods, seeds, 1, workdir)
        per_class = config.data.train_images_per_class
        say(f"{config.model.weights} backbone, {per_class} training images a class of "
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


def gates(arguments: list[str]) -> None:
    """Show what the gate of a run learned: openness, classes, and whether the image matters."""

    def form(
        run: Positional[Path],
        split: str = "validation",
        data: str | None = None,
        data_dir: str | None = None,
        out: Path | None = None,
        channels: bool = False,
    ) -> argparse.Namespace:
        """Look into a gate.

        Example: gtn gates runs/first --channels

        Args:
            run: run folder.
            split: validation, test or train.
            data: a data set with the same classes; default: the run's own.
            data_dir: folder of prepared data sets; default: the run's own.
            out: folder to write gates.npz and gates/*.png into; default: the run's.
            channels: show accuracy against channels kept, too; training images rank them.
        """
        return argparse.Namespace(**locals())

    given = parse(form, "gtn gates", arguments)
    set_up_process()
    from gtn_jax.analysis import gate_pictures
    from gtn_jax.analysis import gates as analysis
    from gtn_jax.analysis.channels import curve_of, curve_table
    from gtn_jax.inference.outputs import run_outputs

    name_devices()
    where = given.run, given.split, given.data, given.data_dir
    outputs = run_outputs(*where)
    statistics = analysis.gate_statistics(outputs)
    for line in analysis.in_lines(outputs, statistics):
        say(line)
    show(analysis.accuracy_table(statistics))
    curve = curve_of(*where) if given.channels else None
    if curve is not None:
        show(curve_table(curve))
    folder = given.out or given.run
    folder.mkdir(parents=True, exist_ok=True)
    analysis.write_gates(folder / "gates.npz", outputs, statistics, given.split, curve)
    say(f"{folder / 'gates.npz'}: {given.split}, {len(outputs.labels)} images")
    if gate_pictures.has_matplotlib():
        files = gate_pictures.draw(statistics, outputs.classes, folder / "gates", curve)
        say(f"{folder / 'gates'}: {len(files)} pictures")
    else:
        say('no pictures without matplotlib: pip install "gtn_jax[plots]"')


def report(arguments: list[str]) -> None:
    """Write a page about runs, or about a comparison: one HTML file that needs no network."""

    def form(
        runs: Positional[tuple[Path, ...]], out: Path | None = None, split: str | None = None
    ) -> tuple[tuple[Path, ...], Path | None, str | None]:
        """Report on runs.

        Example: gtn report runs/first runs/second --out report.html

        Args:
            runs: run folders, or the folder of a comparison.
            out: file to write; default: report.html in the one folder.
            split: whose images are shown, test or validation; default: test, where a run has it.
        """
        return runs, out, split

    runs, out, split = parse(form, "gtn report", arguments)
    from gtn_jax.analysis.report import write_report

    say(str(write_report(runs, out, split)))

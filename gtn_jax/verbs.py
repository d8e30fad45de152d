"""The verbs of `gtn`: each reads its arguments, calls one function and prints what came of it.

Nothing heavy is imported before a verb runs. No logic here: that is in the rooms. The verbs of
data, of weights, of run folders, of analysis and of the installation are in data_verbs.py,
weight_verbs.py, run_verbs.py, analysis_verbs.py and installation_verbs.py.
"""

import argparse
import json
from pathlib import Path
from typing import Literal

import tyro

from gtn_jax.analysis_verbs import compare, gates, report
from gtn_jax.arguments import parse
from gtn_jax.data_verbs import check_data, prepare
from gtn_jax.experiment import load_experiment, shipped_folder
from gtn_jax.installation_verbs import doctor, list_names
from gtn_jax.process import set_up_process
from gtn_jax.run_verbs import checkpoint, train
from gtn_jax.terminal import Counting, complain, say, show
from gtn_jax.training.lock import locked
from gtn_jax.weight_verbs import convert, export

Positional = tyro.conf.Positional


def evaluate(arguments: list[str]) -> None:
    """Evaluate the selected weights of a run on a split of its data set."""

    def form(
        run: Positional[Path],
        split: str = "test",
        data: str | None = None,
        data_dir: str | None = None,
    ) -> tuple[Path, str, str | None, str | None]:
        """Evaluate a run.

        Example: gtn evaluate runs/first --split test

        Args:
            run: run folder.
            split: test, validation or train.
            data: a data set with the same classes; default: the run's own.
            data_dir: folder of prepared data sets; default: the run's own.
        """
        return run, split, data, data_dir

    workdir, split, data, data_dir = parse(form, "gtn evaluate", arguments)
    set_up_process()
    from gtn_jax.inference.restore import evaluate_run

    result = evaluate_run(workdir, split, data, data_dir)
    print(json.dumps({"split": split, **result}, indent=2))


def predict(arguments: list[str]) -> None:
    """Name the classes of image files by the selected weights of a run."""

    def form(
        run: Positional[Path],
        paths: Positional[tuple[Path, ...]],
        topk: int = 3,
        out: Path | None = None,
        overwrite: bool = False,
    ) -> argparse.Namespace:
        """Predict.

        Example: gtn predict runs/first photos --topk 3 --out answers.csv

        Args:
            run: run folder.
            paths: image files, folders of them, and patterns ("photos/**/*.jpg").
            topk: classes to name for each file.
            out: .csv or .json to write, instead of a table on the screen.
            overwrite: replace `out` if it exists.
        """
        return argparse.Namespace(**locals())

    given = parse(form, "gtn predict", arguments)
    from gtn_jax.inference import predict as prediction

    if given.out is not None:
        prediction.check_out(given.out, given.overwrite)
    set_up_process()
    with Counting("files") as counting:
        good, bad = prediction.predict_paths(
            given.run, given.paths, given.topk, complain, counting.show
        )
    if given.out is not None:
        prediction.write_predictions(good, given.out)
        say(f"{given.out}: {len(good)} files")
    elif good:
        show(prediction.prediction_table(good))
    if bad:
        raise ValueError(f"{bad} of {len(good) + bad} could not be predicted; the others were")


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
    from gtn_jax.analysis.comparison_table import accuracy_table, summarise, where_time_went
    from gtn_jax.analysis.trials import choose_devices
    from gtn_jax.analysis.tuning import best_rate
    from gtn_jax.training.row_file import read_rows

    config = load_experiment("quickstart")
    # The tuning runs that ship with the experiment: its header has their command.
    tuned = read_rows(shipped_folder() / "quickstart_tuning.jsonl")
    methods = ("finetune", "gtn", "gtn_identity")
    comparison.check(config, methods, seeds, 1, workdir)
    rates = {method: best_rate(tuned, method) for method in methods}
    per_class = config.data.train_images_per_class
    say(f"{config.model.weights} backbone, {per_class} training images a class of "
         f"{config.data.name}; {len(methods)} methods x {seeds} seeds")  # fmt: skip
    with locked(workdir):
        rows = comparison.compare(config, rates, range(seeds), workdir, choose_devices(1), say)
    show(accuracy_table(summarise(rows, workdir)))
    say(f"time: {where_time_went(rows, workdir)}\nrun folders: {workdir}/runs")


def benchmark(arguments: list[str]) -> None:
    """Measure speed and memory beside PyTorch, stock Flax and the machine's limits."""

    def form(
        out: Path | None = None,
        quick: bool = False,
        growth: bool = False,
        only: tuple[str, ...] = (),
        minutes: float | None = None,
        show: tuple[Path, ...] = (),
        plots: Path | None = None,
    ) -> argparse.Namespace:
        """Time workloads in turns with their peers, each in a process of its own.

        Example: gtn benchmark --out benchmark.json --only step frozen

        Args:
            out: JSON file to write; it is complete after each group.
            quick: tiny shapes, to see that it works; its figures mean nothing.
            growth: time against batch, image size, depth, classes, devices, data set instead.
            only: groups to measure, e.g. step frozen; default: all that fit into the time.
            minutes: of the whole run (default: 12, growth 25); what was measured is in the file
                even after Ctrl-C.
            show: files to print as the tables of docs/benchmarks.md, instead of measuring.
            plots: folder for pictures of the growth that --show prints, one SVG an axis.
        """
        return argparse.Namespace(**locals())

    given = parse(form, "gtn benchmark", arguments)
    from gtn_jax.benchmark import command

    if given.show:
        print(command.tables(given.show, given.plots))
    elif given.plots is not None:
        raise ValueError("--plots: of which files? e.g. `--show growth.json --plots docs`")
    elif given.out is None:
        raise ValueError("--out: where to? e.g. `gtn benchmark --out benchmark.json`")
    else:
        groups = command.groups_of(given.quick, given.growth, given.only)
        words = ("gtn", "benchmark", *arguments)
        minutes = command.minutes_of(given.growth) if given.minutes is None else given.minutes
        command.benchmark(given.out, groups, minutes, words, say)


def completion(arguments: list[str]) -> None:
    """Print what teaches bash or zsh to complete gtn's verbs, names and options."""

    def form(shell: Positional[Literal["bash", "zsh"]]) -> Literal["bash", "zsh"]:
        """Print a completion script.

        Example: eval "$(gtn completion bash)"

        Args:
            shell: bash or zsh.
        """
        return shell

    shell = parse(form, "gtn completion", arguments)
    from gtn_jax.catalogue import CATALOGUE
    from gtn_jax.completion import completion as script
    from gtn_jax.completion import words_after

    say(script(shell, VERBS, words_after(VERBS, tuple(CATALOGUE))))


RESUMING = ("quickstart", "train", "compare")
"""Verbs that go on where a signal stopped them; the others start over."""
VERBS = {
    "quickstart": quickstart,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "compare": compare,
    "gates": gates,
    "report": report,
    "prepare": prepare,
    "check-data": check_data,
    "convert": convert,
    "export": export,
    "checkpoint": checkpoint,
    "benchmark": benchmark,
    "doctor": doctor,
    "list": list_names,
    "completion": completion,
}
"""Name -> verb, in the order of `gtn --help`."""

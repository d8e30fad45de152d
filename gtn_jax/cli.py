"""`gtn VERB ...`: the shell's way in. Verbs read arguments and call one function; no logic here.

Nothing heavy is imported before a verb runs, so that `--help` answers at once. Exit codes: 0 for a
finished job, 1 for an error (one to three lines; `--debug` shows the traceback), 2 for usage.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from gtn_jax.config import Config
from gtn_jax.errors import unknown_name
from gtn_jax.experiment import load_experiment, shipped_experiments, shipped_folder
from gtn_jax.presets import PRESETS, REMAINING_DEVIATIONS

Positional = tyro.conf.Positional


@dataclasses.dataclass(frozen=True)
class TrainArguments:
    """What `gtn train EXPERIMENT` takes besides the experiment."""

    config: Annotated[Config, tyro.conf.arg(name="")]
    """Any field of the experiment's CONFIG."""
    workdir: Path
    """Run folder: new, or an unfinished run of the same config, which is continued."""


def train(arguments: list[str]) -> None:
    """Train an experiment; resume an unfinished run; print the summary of a finished one."""
    name, rest = _experiment(arguments, "gtn train quickstart --workdir runs/first")
    preset, rest = _preset(rest)
    config = PRESETS[preset](load_experiment(name)) if preset else load_experiment(name)
    if preset == "official":
        for deviation in REMAINING_DEVIATIONS:
            _say(f"not as in the authors' code: {deviation}")
    parsed = _parse(TrainArguments, f"gtn train {name}", rest, TrainArguments(config, tyro.MISSING))
    from gtn_jax.training.loop import run

    print(json.dumps(run(parsed.config, parsed.workdir), indent=2))


def evaluate(arguments: list[str]) -> None:
    """Evaluate the selected weights of a run on a split of its data set."""

    def parse(
        run: Positional[Path],
        split: str = "test",
        data: str | None = None,
        data_dir: str | None = None,
    ) -> tuple[Path, str, str | None, str | None]:
        """Evaluate a run.

        Args:
            run: run folder.
            split: test, validation or train.
            data: a data set with the same classes; default: the run's own.
            data_dir: folder of prepared data sets; default: the run's own.
        """
        return run, split, data, data_dir

    workdir, split, data, data_dir = _parse(parse, "gtn evaluate", arguments)
    from gtn_jax.inference.restore import evaluate_run

    result = evaluate_run(workdir, split, data, data_dir)
    print(json.dumps({"split": split, **result}, indent=2))


def predict(arguments: list[str]) -> None:
    """Name the classes of image files by the selected weights of a run."""

    def parse(
        run: Positional[Path],
        paths: Positional[tuple[Path, ...]],
        topk: int = 3,
        out: Path | None = None,
    ) -> tuple[Path, tuple[Path, ...], int, Path | None]:
        """Predict.

        Args:
            run: run folder.
            paths: image files, and folders of them.
            topk: classes to name for each file.
            out: .csv or .json to write, instead of a table on the screen.
        """
        return run, paths, topk, out

    workdir, paths, topk, out = _parse(parse, "gtn predict", arguments)
    from gtn_jax.inference import predict as prediction

    if out is not None:
        prediction.check_out(out)
    good, bad = prediction.predict_paths(workdir, paths, topk, _complain)
    if out is not None:
        prediction.write_predictions(good, out)
        _say(f"{out}: {len(good)} files")
    elif good:
        _print_table(prediction.prediction_table(good))
    if bad:
        raise ValueError(f"{bad} of {len(good) + bad} could not be predicted; the others were")


def compare(arguments: list[str]) -> None:
    """Tune a rate for each method on validation, then compare them on paired seeds."""
    name, rest = _experiment(
        arguments, "gtn compare quickstart --methods finetune gtn --seeds 5 --workdir runs/compare"
    )

    def parse(
        workdir: Path, methods: tuple[str, ...] = ("finetune", "gtn"), seeds: int = 5,
        trials: int = 2,
    ) -> tuple[Path, tuple[str, ...], int, int]:  # fmt: skip
        """Compare methods on an experiment.

        Args:
            workdir: folder of the comparison; finished runs in it are kept.
            methods: the first is the one that others are subtracted from.
            seeds: final runs a method, seeds 0, 1, ...
            trials: tuning runs a method and rate.
        """
        return workdir, methods, seeds, trials

    workdir, methods, seeds, trials = _parse(parse, f"gtn compare {name}", rest)
    from gtn_jax.analysis import compare as comparison

    config = load_experiment(name)
    comparison.check(config, methods, seeds, workdir)
    tuned = comparison.tune(config, methods, trials, workdir, _say)
    rates = {method: comparison.best_rate(tuned, method) for method in methods}
    rows = comparison.compare(config, rates, range(seeds), workdir, _say)
    _print_table(comparison.comparison_table(rows, methods[0]))


def quickstart(arguments: list[str]) -> None:
    """Adapt the shipped backbone to digits by three methods, and compare them."""

    def parse(workdir: Path = Path("runs/quickstart"), seeds: int = 2) -> tuple[Path, int]:
        """Compare fine-tuning with and without gates on 20 digits a class.

        Args:
            workdir: a run folder a run goes to WORKDIR/runs.
            seeds: runs a method.
        """
        return workdir, seeds

    workdir, seeds = _parse(parse, "gtn quickstart", arguments)
    from gtn_jax.analysis import compare as comparison
    from gtn_jax.training.run_folder import read_rows

    config = load_experiment("quickstart")
    # The tuning runs that ship with the experiment: its header has their command.
    tuned = read_rows(shipped_folder() / "quickstart_tuning.jsonl")
    methods = ("finetune", "gtn", "gtn_identity")
    comparison.check(config, methods, seeds, workdir)
    rates = {method: comparison.best_rate(tuned, method) for method in methods}
    per_class = config.data.train_images_per_class
    _say(f"{config.model.weights} backbone, {per_class} training images a class of "
         f"{config.data.name}; {len(methods)} methods x {seeds} seeds")  # fmt: skip
    rows = comparison.compare(config, rates, range(seeds), workdir, _say)
    _print_table(comparison.comparison_table(rows))
    _say(f"run folders: {workdir}/runs")


def prepare(arguments: list[str]) -> None:
    """Bring a data set in, once: its source becomes records that training reads."""

    def parse(
        dataset: Positional[str],
        source: Path | None = None,
        data_dir: str = Config().data.data_dir,
    ) -> tuple[str, Path | None, str]:
        """Prepare a data set.

        Args:
            dataset: digits or tiny_imagenet.
            source: the file it is made from, where one is needed.
            data_dir: folder of prepared data sets.
        """
        return dataset, source, data_dir

    dataset, source, data_dir = _parse(parse, "gtn prepare", arguments)
    from gtn_jax.data import sources

    counts = sources.prepare(dataset, data_dir, source)
    _say(f"{dataset}: " + ", ".join(f"{split} {count:,}" for split, count in counts.items()))


def convert(arguments: list[str]) -> None:
    """Turn a PyTorch checkpoint or a run into weights, or the authors' checkpoint into a run."""

    def parse(
        source: Positional[Path],
        destination: Positional[Path],
        precision: Literal["float32", "float16"] = "float32",
        classes: Path | None = None,
        data: str = "none",
        data_dir: str = Config().data.data_dir,
        images: Path | None = None,
        image_size: int = 224,
    ) -> argparse.Namespace:
        """Convert weights.

        Args:
            source: a .pth, .pt or .th file that holds a state dict (needs the extra `torch`), or
                a run folder, of which trunk and classifier are taken.
            destination: a .safetensors file to write; or, from a checkpoint of the GTN authors'
                script, a run folder.
            precision: of the kernels of a run.
            classes: for a run folder: text file, a class name a line, in label order.
            data: for a run folder: the data set that `gtn evaluate` shall use.
            data_dir: for a run folder: folder of prepared data sets.
            images: for weights with BatchNorm folded in: folder of images to measure it on.
            image_size: side of those images in pixels.
        """
        return argparse.Namespace(**locals())

    given = _parse(parse, "gtn convert", arguments)
    if given.source.is_dir():
        from gtn_jax.inference.backbone import save_backbone

        count = save_backbone(given.source, given.destination, given.precision)
        _say(f"{given.destination}: {count} tensors")
    elif given.images is not None:
        from gtn_jax.weights.unfold import unfold_file

        count = unfold_file(given.source, given.destination, given.images, given.image_size)
        _say(f"{given.destination}: BatchNorm measured on {count} images")
    elif given.destination.suffix == ".safetensors":
        from gtn_jax.weights.convert import convert as convert_file

        converted = convert_file(given.source, given.destination)
        for line in converted.notes:
            _say(f"note    {line}")
        _say(f"{converted.path}: {converted.tensors} tensors; dropped {len(converted.dropped)}")
    else:
        from gtn_jax.inference.adopt import adopt

        run = adopt(given.source, given.destination, given.classes, given.data, given.data_dir)
        _say(f"{run.path}: a run of {run.backbone} with {run.classes} classes")


def export(arguments: list[str]) -> None:
    """Write a run in another framework's format: the authors' PyTorch model."""

    def parse(
        run: Positional[Path], out: Path, to: Literal["torch"]
    ) -> tuple[Path, Path, Literal["torch"]]:
        """Export a run.

        Args:
            run: run folder.
            out: folder to write into; new or empty.
            to: torch, a state dict that the GTN authors' model loads (needs the extra `torch`).
        """
        return run, out, to

    workdir, out, _ = _parse(parse, "gtn export", arguments)
    from gtn_jax.inference.export import export_torch

    exported = export_torch(workdir, out)
    _say(f"{exported.path}: {exported.tensors} tensors")


VERBS = {
    "quickstart": quickstart,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "compare": compare,
    "prepare": prepare,
    "convert": convert,
    "export": export,
}


def main(arguments: list[str] | None = None) -> int:
    """Run one verb.

    Args:
        arguments: without the program's name; None takes the process's.

    Returns:
        The exit code.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0 if arguments else 2
    try:
        if arguments[0] not in VERBS:
            print(f"error: {unknown_name('verb', arguments[0], VERBS)}", file=sys.stderr)
            return 2
        VERBS[arguments[0]](arguments[1:])
    except (ValueError, OSError) as error:
        if debug:
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command continues from the last checkpoint", file=sys.stderr)
        return 130
    return 0


def _parse(form: Any, prog: str, arguments: list[str], default: Any = None) -> Any:
    """Arguments as `form` (a function or dataclass) wants them.

    Raises:
        SystemExit: 0 after --help; 2 after an error, which tyro draws as a box of many lines and
            which is said here in two.
    """
    options = {"default": default} if default is not None else {}
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(form, prog=prog, args=arguments, use_underscores=True, **options)
    except SystemExit as stopped:
        if stopped.code:
            lines = [line.strip("╭╮╰╯│─ ") for line in said.getvalue().splitlines()]
            words = [line for line in lines if line and "full helptext" not in line.lower()]
            words = [line for line in words if not line.startswith(prog)]
            print(f"error: {' '.join(words)[:400]}\nsee `{prog} --help`", file=sys.stderr)
        raise


def _help() -> str:
    lines = ["usage: gtn VERB ... (gtn VERB --help tells more; --debug shows tracebacks)", ""]
    for name, verb in VERBS.items():
        lines.append(f"  {name:<12}{(verb.__doc__ or '').strip()}")
    return "\n".join([*lines, "", "experiments: " + ", ".join(shipped_experiments())])


def _experiment(arguments: list[str], example: str) -> tuple[str, list[str]]:
    """The experiment's name, which comes first, and the other arguments."""
    if not arguments or arguments[0].startswith("-"):
        names = ", ".join(shipped_experiments())
        print(f"usage: {example}\nexperiments: {names}, or a .py file", file=sys.stderr)
        raise SystemExit(0 if arguments in (["-h"], ["--help"]) else 2)
    return arguments[0], arguments[1:]


def _preset(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The value of `--preset`, which comes before every other field's, and the other arguments.

    Raises:
        ValueError: no such preset.
    """
    joined = [part for argument in arguments for part in _split_preset(argument)]
    if "--preset" not in joined:
        return None, arguments
    place = joined.index("--preset")
    name = joined[place + 1] if place + 1 < len(joined) else ""
    if name not in PRESETS:
        raise unknown_name("preset", name, PRESETS)
    return name, joined[:place] + joined[place + 2 :]


def _split_preset(argument: str) -> list[str]:
    return argument.split("=", 1) if argument.startswith("--preset=") else [argument]


def _say(line: str) -> None:
    print(line, flush=True)


def _complain(line: str) -> None:
    print(f"error: {line}", file=sys.stderr, flush=True)


def _print_table(table) -> None:
    from rich.console import Console

    Console(width=None if sys.stdout.isatty() else 80).print("", table, "")

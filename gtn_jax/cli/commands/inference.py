"""Verbs that use a run: evaluate, predict, export."""

import argparse
import json
from pathlib import Path
from typing import Literal

import tyro

from gtn_jax.cli.arguments import parse
from gtn_jax.cli.process import name_devices, set_up_process
from gtn_jax.cli.terminal import Counting, aside, print_error, say, show

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

        Standard output is JSON; what it comes to, class by class, is on standard error.

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
    name_devices()
    from gtn_jax.analysis.answers import in_lines
    from gtn_jax.inference.restore import judge_run

    judged = judge_run(workdir, split, data, data_dir)
    say(json.dumps({"split": split, **judged.figures}, indent=2))
    for line in in_lines(split, judged.said, judged.classes):
        aside(line)


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
    name_devices()
    with Counting("files") as counting:
        good, bad = prediction.predict_paths(
            given.run, given.paths, given.topk, print_error, counting.show
        )
    if given.out is not None:
        prediction.write_predictions(good, given.out)
        say(f"{given.out}: {len(good)} files")
    elif good:
        show(prediction.prediction_table(good))
    if bad:
        others = "; the others were" if good else ""
        raise ValueError(f"{bad} of {len(good) + bad} could not be predicted{others}")


def export(arguments: list[str]) -> None:
    """Write a run for use without this package, or as the authors' model."""

    def form(
        run: Positional[Path],
        out: Path,
        to: Literal["stablehlo", "torch"] = "stablehlo",
    ) -> argparse.Namespace:
        """Export a run.

        Example: gtn export runs/first --out classifier

        Args:
            run: run folder.
            out: folder to write into; new or empty.
            to: stablehlo, a folder that works without this package (needs the extra `export`);
                torch, a state dict that the GTN authors' model loads (needs the extra `torch`).
        """
        return argparse.Namespace(**locals())

    given = parse(form, "gtn export", arguments)
    set_up_process()
    name_devices()
    if given.to == "torch":
        from gtn_jax.inference.torch_export import export_torch

        exported = export_torch(given.run, given.out)
        say(f"{exported.path}: {exported.tensors} tensors")
    else:
        from gtn_jax.inference.portable import export_portable

        portable = export_portable(given.run, given.out)
        for name, size in portable.files.items():
            say(f"{given.out / name}: {size:,} bytes")
        say(f"read back: probabilities within {portable.largest_difference:.1e} of the run's")

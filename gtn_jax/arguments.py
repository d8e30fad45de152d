"""Words of a command line -> values: experiment, preset, and the rest as tyro reads it.

tyro (https://brentyi.github.io/tyro/) turns functions and dataclasses into options; here its
errors become one sentence. Nothing heavy is imported.
"""

import contextlib
import io
import re
import sys
from typing import Any

import tyro

from gtn_jax.errors import unknown_name
from gtn_jax.experiment import shipped_experiments
from gtn_jax.presets import PRESETS


def parse(form: Any, prog: str, arguments: list[str], default: Any = None) -> Any:
    """Arguments as `form` (a function or dataclass) wants them.

    Raises:
        SystemExit: 0 after --help; 2 after an error, which tyro draws as a box of many lines and
            which is said here in two.
    """
    options = {"default": default} if default is not None else {}
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            value, unknown = tyro.cli(
                form,
                prog=prog,
                args=arguments,
                use_underscores=True,
                return_unknown_args=True,
                **options,
            )
    except SystemExit as stopped:
        if stopped.code:
            # The frame's first line has a title that says the same once more.
            framed = [line for line in said.getvalue().splitlines() if not line.startswith("╭")]
            lines = [line.strip("╭╮╰╯│─ ") for line in framed]
            words = [line for line in lines if line and "full helptext" not in line.lower()]
            words = [line for line in words if not line.startswith(prog)]
            print(f"error: {' '.join(words)[:400]}\nsee `{prog} --help`", file=sys.stderr)
        raise
    # What fields say together: tyro reports only the checks of a section.
    except ValueError as error:
        print(f"error: {error}\nsee `{prog} --help`", file=sys.stderr)
        raise SystemExit(2) from error
    if unknown:
        print(f"error: {_unknown_word(unknown, options_of(form, default), prog)}", file=sys.stderr)
        raise SystemExit(2)
    return value


def options_of(form: Any, default: Any = None) -> list[str]:
    """Every option of a form that `parse` takes, e.g. "--data.image_size", as its help has them."""
    said = io.StringIO()
    options = {"default": default} if default is not None else {}
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        tyro.cli(form, args=["--help"], use_underscores=True, **options)
    return options_in(said.getvalue())


def options_in(text: str) -> list[str]:
    """The options that a help text speaks of, each once."""
    return list(dict.fromkeys(re.findall(r"(?<![\w-])--[a-z][a-z0-9_.-]*[a-z0-9]", text)))


def _unknown_word(words: list[str], known: list[str], prog: str) -> str:
    asked = [word.split("=", 1)[0] for word in words if word.startswith("-")]
    if asked:
        return str(unknown_name("option", asked[0], known, catalogue=f"`{prog} --help`"))
    return f"{words[0]!r} is a word too many; see `{prog} --help`"


def take_experiment(arguments: list[str], example: str) -> tuple[str, list[str]]:
    """The experiment's name, which comes first, and the other arguments."""
    if not arguments or arguments[0].startswith("-"):
        names = ", ".join(shipped_experiments())
        print(f"usage: {example}\nexperiments: {names}, or a .py file", file=sys.stderr)
        raise SystemExit(0 if arguments in (["-h"], ["--help"]) else 2)
    return arguments[0], arguments[1:]


def take_preset(arguments: list[str]) -> tuple[str | None, list[str]]:
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

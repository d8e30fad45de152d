"""Words of a command line -> values: experiment, preset, and the rest as tyro reads it.

tyro (https://brentyi.github.io/tyro/) turns functions and dataclasses into options; here its
errors become one sentence. Nothing heavy is imported.
"""

import contextlib
import difflib
import functools
import inspect
import io
import re
import sys
from pathlib import Path
from typing import Any

import tyro

from gtn_jax.config.experiment import shipped_experiments
from gtn_jax.config.presets import PRESETS
from gtn_jax.errors import ArgumentError, unknown_name


def parse(form: Any, prog: str, arguments: list[str], default: Any = None) -> Any:
    """Arguments as `form` (a function or dataclass) wants them; "-" and "_" are the same.

    A field of a config may be typed by its last part alone: `--epochs 3`.

    Raises:
        SystemExit: 0 after --help; 2 after an error, which tyro draws as a box of many lines and
            which is said here in two or three.
    """
    options = {"default": default} if default is not None else {}
    shown, said = _Page(), io.StringIO()
    known = _Known(form, default)
    arguments = _long_forms(_with_values(arguments), known, prog)
    try:
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(said):
            value, unknown = tyro.cli(
                form,
                prog=prog,
                args=arguments,
                use_underscores=True,
                return_unknown_args=True,
                **options,
            )
    except SystemExit as stopped:
        print(_as_typed(shown.getvalue()), end="")
        if stopped.code:
            text = _sentence(said.getvalue(), prog, known)
            print(f"error: {text}\nsee `{prog} --help`", file=sys.stderr)
        raise
    # What fields say together: tyro reports only the checks of a section.
    except ValueError as error:
        print(f"error: {error}\nsee `{prog} --help`", file=sys.stderr)
        raise SystemExit(2) from error
    if unknown:
        print(f"error: {_unknown_words(unknown, known.options, prog)}", file=sys.stderr)
        raise SystemExit(2)
    return value


class _Page(io.StringIO):
    """Help on its way to standard output: in colors and characters that are right for that."""

    encoding = getattr(sys.__stdout__, "encoding", "ascii")

    def isatty(self) -> bool:
        return sys.__stdout__ is not None and sys.__stdout__.isatty()


def _as_typed(text: str) -> str:
    """Options as people type them, `--dry-run`; a field keeps its name, `--data.image_size`."""
    return re.sub(r"--[a-z][a-z_]*(?![\w.])", lambda found: found[0].replace("_", "-"), text)


def options_of(form: Any, default: Any = None) -> list[str]:
    """Every option of a form that `parse` takes, e.g. "--data.image_size", as its help has them."""
    said = io.StringIO()
    options = {"default": default} if default is not None else {}
    with contextlib.redirect_stdout(said), contextlib.suppress(SystemExit):
        tyro.cli(form, args=["--help"], use_underscores=True, **options)
    return options_in(_as_typed(said.getvalue()))


def options_in(text: str) -> list[str]:
    """The options that a help text speaks of, each once."""
    return list(dict.fromkeys(re.findall(r"(?<![\w-])--[a-z][a-z0-9_.-]*[a-z0-9]", text)))


class _Known:
    """A form, and the options that it takes, which are drawn up when they are asked for."""

    def __init__(self, form: Any, default: Any):
        self._form, self._default = form, default

    def is_own(self, name: str) -> bool:
        """Whether the form has this option itself, and no section of a config in it."""
        return name.removeprefix("no_") in (*inspect.signature(self._form).parameters, "help")

    @functools.cached_property
    def options(self) -> list[str]:
        # Not what a sentence of the help speaks of, `--epochs`.
        found = options_of(self._form, self._default)
        names = {option: option[2:].replace("-", "_") for option in found}
        return [option for option in found if "." in option or self.is_own(names[option])]

    def example(self, option: str) -> str:
        """An option with the value that it has in the form's example; empty if it is not in it."""
        found = re.search(rf"Example: .*({option} \S+)", self._form.__doc__ or "")
        return found[1] if found else ""


_ALIASES = {"lr": "optimizer.learning_rate"}


_FLAGS = ("data.random_flip",)
"""Fields that are true, false or something else: named alone they are true, behind `no_` false."""


def _with_values(arguments: list[str]) -> list[str]:
    """Options of `_FLAGS` that come without a value, with one."""
    found = []
    for place, argument in enumerate(arguments):
        following = arguments[place + 1] if place + 1 < len(arguments) else "--"
        name = argument.removeprefix("--").replace("-", "_")
        for field in _FLAGS:
            section, _, own = field.partition(".")
            if argument.startswith("--") and name in (f"{section}.no_{own}", f"no_{own}"):
                found += [f"--{field}", "False"]
                break
            is_alone = following.startswith("--")
            if argument.startswith("--") and name in (field, own) and is_alone:
                found += [f"--{field}", "True"]
                break
        else:
            found.append(argument)
    return found


def _long_forms(arguments: list[str], known: _Known, prog: str) -> list[str]:
    """`--epochs` -> `--training.epochs`; options that the form has itself stay as they are.

    Raises:
        SystemExit: 2 where the name is the last part of several fields.
    """
    long = []
    for argument in arguments:
        word, equals, value = argument.partition("=")
        name = word[2:].replace("-", "_")
        if re.fullmatch(r"--[A-Za-z][\w-]*", word) and not known.is_own(name):
            fields = fields_called(name, known.options)
            if len(fields) > 1:
                print(f"error: {word} could be {' or '.join(fields)}; say which", file=sys.stderr)
                raise SystemExit(2)
            argument = f"{fields[0]}{equals}{value}" if fields else argument
        long.append(argument)
    return long


def fields_called(name: str, options: list[str]) -> list[str]:
    """Of options like "--data.image_size", those of which `name` is the last part or an alias."""
    wanted = _ALIASES.get(name, name)
    return [
        option
        for option in options
        if "." in option and wanted in (option[2:], option.rpartition(".")[2])
    ]


def _sentence(box: str, prog: str, known: _Known) -> str:
    """What tyro drew, in a sentence; unknown options beside a missing one are another."""
    lines = [line.strip("╭╮╰╯│─ ") for line in box.splitlines()]
    lines = [line for line in lines if line.strip("-") and "full helptext" not in line.lower()]
    _, *words = lines or [""]  # the first one is a title, and says the same
    text = " ".join(line for line in words if not line.startswith(prog))
    choice = re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)", text)
    if choice is not None:
        found, argument, expected = choice.groups()
        names = [word.strip(" '") for word in expected.split(",") if word.strip(" '")]
        return f"{argument}: {unknown_name('choice', found, names)}"
    wanted, _, unknown = text.partition(" Unrecognized options: ")
    missing = re.fullmatch(r"Missing from [^:]*: (--\S+) \S+ (.*?) \(required\)", wanted)
    if missing is None or wanted.count("(required)") > 1:
        return text[:400]
    example = known.example(missing[1])
    wanted = f"{missing[1]} is missing{example and f', e.g. {example}'} ({missing[2].rstrip('.')})"
    return "\n".join(
        [wanted, *([_unknown_words(unknown.split(), known.options, prog)] if unknown else [])]
    )


def _unknown_words(words: list[str], known: list[str], prog: str) -> str:
    asked = [word.split("=", 1)[0] for word in words if re.match("--?[A-Za-z]", word)]
    if not asked:
        return f"unexpected argument {words[0]!r}; see `{prog} --help`"
    hints = {word: _nearest(word, known) for word in asked}
    if len(hints) == 1:
        ((word, near),) = hints.items()
        hint = f"did you mean {near}? (all: `{prog} --help`)"
        return f"unknown option '{word}'; {hint if near else f'all are in `{prog} --help`'}"
    said = [f"'{word}'{near and f' (did you mean {near}?)'}" for word, near in hints.items()]
    return f"unknown options {', '.join(said)}; all are in `{prog} --help`"


def _nearest(asked: str, known: list[str]) -> str:
    """Up to three options like it, in words; empty if there is none."""
    likeness = {option: _likeness(asked, option) for option in known}
    near = [option for option in known if likeness[option] >= _LIKE]
    return " or ".join(sorted(near, key=lambda option: -likeness[option])[:3])


_LIKE = 0.65


def _likeness(asked: str, option: str) -> float:
    """0 to 1: of the options, or of what comes last; `--lr` is `--optimizer.learning_rate`, too."""
    asked, option = (word.lower().replace("-", "_").strip("_") for word in (asked, option))
    tail, name = (word.rpartition(".")[2] for word in (asked, option))
    initials = "".join(part[:1] for part in name.split("_"))
    if tail in (name, initials) and len(tail) > 1:
        return 1.0
    begins = 0.9 if len(tail) > 2 and name.startswith(tail) else 0.0
    pairs = (asked, option), (tail, name)
    return max(begins, *(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs))


def take_experiment(arguments: list[str], example: str) -> tuple[str, list[str]]:
    """The experiment's name, which comes first, and the other arguments.

    A folder right behind it, `gtn train photos PATH`, is `--data.name folder:PATH`.

    Raises:
        ArgumentError: a folder in its place.
    """
    if not arguments or arguments[0].startswith("-"):
        names, (gtn, verb, shown, *_) = ", ".join(shipped_experiments()), example.split()
        is_asked = arguments in (["-h"], ["--help"])
        print(
            f"usage: {example}\nexperiments: {names}, or a .py file\n"
            f"options: {gtn} {verb} {shown} --help",
            file=sys.stdout if is_asked else sys.stderr,
        )
        raise SystemExit(0 if is_asked else 2)
    name, rest = arguments[0], arguments[1:]
    if name not in shipped_experiments() and not name.endswith(".py") and Path(name).is_dir():
        raise ArgumentError(
            "name",
            f"{name} is a folder; an experiment comes first, e.g. `gtn train photos {name} "
            "--workdir runs/photos`",
        )
    if rest and not rest[0].startswith("-") and Path(rest[0]).expanduser().is_dir():
        # What else could a folder behind an experiment be?
        rest = ["--data.name", f"folder:{rest[0]}", *rest[1:]]
    return name, rest


def take_preset(arguments: list[str]) -> tuple[str | None, list[str]]:
    """The value of `--preset`, which comes before every other field's, and the other arguments.

    Raises:
        ValueError: no such preset.
    """
    distributed_session = [part for argument in arguments for part in _split_preset(argument)]
    if "--preset" not in distributed_session:
        return None, arguments
    place = distributed_session.index("--preset")
    name = distributed_session[place + 1] if place + 1 < len(distributed_session) else ""
    if name not in PRESETS:
        raise ArgumentError("preset", str(unknown_name("preset", name, PRESETS)))
    return name, distributed_session[:place] + distributed_session[place + 2 :]


def _split_preset(argument: str) -> list[str]:
    return argument.split("=", 1) if argument.startswith("--preset=") else [argument]

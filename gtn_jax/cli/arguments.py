"""Parsing of command lines by tyro, with its errors in one sentence. Nothing heavy is imported."""

import contextlib
import difflib
import functools
import inspect
import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tyro

from gtn_jax.config.experiment import shipped_experiments
from gtn_jax.config.presets import PRESETS
from gtn_jax.errors import ArgumentError, unknown_name


def parse(form: Any, prog: str, arguments: list[str], default: Any = None) -> Any:
    """Parse arguments by `form`, a function or dataclass; "-" and "_" are equivalent.

    A config field may be given by its last part: `--epochs 3`.

    Raises:
        SystemExit: 0 after --help; 2 after an error, which is printed in two or three lines.
    """
    options = {"default": default} if default is not None else {}
    shown, errors = _Page(), io.StringIO()
    known = _Known(form, default)
    arguments = _long_forms(_with_values(arguments), known, prog)
    try:
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(errors):
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
            text = _sentence(errors.getvalue(), prog, known)
            print(f"error: {text}\nsee `{prog} --help`", file=sys.stderr)
        raise
    # Checks across sections, which tyro does not report.
    except ValueError as error:
        print(f"error: {error}\nsee `{prog} --help`", file=sys.stderr)
        raise SystemExit(2) from error
    if unknown:
        print(f"error: {_unknown_words(unknown, known.options, prog)}", file=sys.stderr)
        raise SystemExit(2)
    return value


def command(name: str) -> Callable[[Callable[..., None]], Callable[[list[str]], None]]:
    """Make a function a command: its parameters are the arguments, its docstring the help."""

    def decorate(function: Callable[..., None]) -> Callable[[list[str]], None]:
        @functools.wraps(function)
        def form(**values: Any) -> dict[str, Any]:
            return values

        def run(arguments: list[str]) -> None:
            function(**parse(form, f"gtn {name}", arguments))

        run.__doc__ = function.__doc__
        return run

    return decorate


class _Page(io.StringIO):
    """Help text on its way to standard output, with the colors and characters that fit it."""

    encoding = getattr(sys.__stdout__, "encoding", "ascii")

    def isatty(self) -> bool:
        return sys.__stdout__ is not None and sys.__stdout__.isatty()


def _as_typed(text: str) -> str:
    """Options as usually typed, `--dry-run`; fields keep their names, `--data.image_size`."""
    return re.sub(r"--[a-z][a-z_]*(?![\w.])", lambda match: match[0].replace("_", "-"), text)


def options_of(form: Any, default: Any = None) -> list[str]:
    """All options that `parse` takes for a form, e.g. "--data.image_size", as in its help."""
    page = io.StringIO()
    options = {"default": default} if default is not None else {}
    with contextlib.redirect_stdout(page), contextlib.suppress(SystemExit):
        tyro.cli(form, args=["--help"], use_underscores=True, **options)
    return options_in(_as_typed(page.getvalue()))


def options_in(text: str) -> list[str]:
    """The options mentioned in a help text, each once."""
    return list(dict.fromkeys(re.findall(r"(?<![\w-])--[a-z][a-z0-9_.-]*[a-z0-9]", text)))


class _Known:
    """A form and its options, which are computed on demand."""

    def __init__(self, form: Any, default: Any):
        self._form, self._default = form, default

    def is_own(self, name: str) -> bool:
        """Whether the option belongs to the form itself, not to a section of a config."""
        return name.removeprefix("no_") in (*inspect.signature(self._form).parameters, "help")

    @functools.cached_property
    def options(self) -> list[str]:
        # Without options that only a sentence of the help mentions, like `--epochs`.
        mentioned = options_of(self._form, self._default)
        names = {option: option[2:].replace("-", "_") for option in mentioned}
        return [option for option in mentioned if "." in option or self.is_own(names[option])]

    def example(self, option: str) -> str:
        """The option with its value in the form's example, or an empty string."""
        match = re.search(rf"Example: .*({option} \S+)", self._form.__doc__ or "")
        return match[1] if match else ""


_ALIASES = {"lr": "optimizer.learning_rate"}


def _with_values(arguments: list[str]) -> list[str]:
    """Give `data.random_flip`, which is not only true or false, a value if it has none."""
    result = []
    for argument, following in zip(arguments, [*arguments[1:], "--"], strict=False):
        name = argument[2:].replace("-", "_") if argument.startswith("--") else ""
        match = re.fullmatch(r"(?:data\.)?(no_)?random_flip", name)
        if match and (match[1] or following.startswith("--")):
            result += ["--data.random_flip", str(not match[1])]
        else:
            result.append(argument)
    return result


def _long_forms(arguments: list[str], known: _Known, prog: str) -> list[str]:
    """`--epochs` -> `--training.epochs`; the form's own options stay as they are.

    Raises:
        SystemExit: 2 if the name is the last part of several fields.
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
    """Options like "--data.image_size" whose last part, or whose alias, is `name`."""
    name = _ALIASES.get(name, name)
    fields = [option for option in options if "." in option]
    return [field for field in fields if name in (field[2:], field.rpartition(".")[2])]


def _sentence(box: str, prog: str, known: _Known) -> str:
    """tyro's error box as a sentence; unknown options are a second one."""
    lines = [line.strip("╭╮╰╯│─ ") for line in box.splitlines()]
    lines = [line for line in lines if line.strip("-") and "full helptext" not in line.lower()]
    _, *words = lines or [""]  # the first is a title
    text = " ".join(line for line in words if not line.startswith(prog))
    choice = re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)", text)
    if choice is not None:
        value, argument, expected = choice.groups()
        names = [word.strip(" '") for word in expected.split(",") if word.strip(" '")]
        return f"{argument}: {unknown_name('choice', value, names)}"
    required, _, unknown = text.partition(" Unrecognized options: ")
    missing = re.fullmatch(r"Missing from [^:]*: (--\S+) \S+ (.*?) \(required\)", required)
    if missing is None or required.count("(required)") > 1:
        return text[:400]
    example = known.example(missing[1])
    line = f"{missing[1]} is missing{example and f', e.g. {example}'} ({missing[2].rstrip('.')})"
    return f"{line}\n{_unknown_words(unknown.split(), known.options, prog)}" if unknown else line


def _unknown_words(words: list[str], known: list[str], prog: str) -> str:
    asked = [word.split("=", 1)[0] for word in words if re.match("--?[A-Za-z]", word)]
    if not asked:
        return f"unexpected argument {words[0]!r}; see `{prog} --help`"
    hints = {word: _nearest(word, known) for word in asked}
    if len(hints) == 1:
        ((word, near),) = hints.items()
        hint = f"did you mean {near}? (all: `{prog} --help`)"
        return f"unknown option '{word}'; {hint if near else f'all are in `{prog} --help`'}"
    described = [f"'{word}'{near and f' (did you mean {near}?)'}" for word, near in hints.items()]
    return f"unknown options {', '.join(described)}; all are in `{prog} --help`"


def _nearest(asked: str, known: list[str]) -> str:
    """Up to three similar options, joined by "or"."""
    likeness = {option: _likeness(asked, option) for option in known}
    near = [option for option in known if likeness[option] >= _LIKE]
    return " or ".join(sorted(near, key=lambda option: -likeness[option])[:3])


_LIKE = 0.65


def _likeness(asked: str, option: str) -> float:
    """0 to 1: similarity of options or their last parts; initials count, as in `--lr`."""
    asked, option = (word.lower().replace("-", "_").strip("_") for word in (asked, option))
    tail, name = (word.rpartition(".")[2] for word in (asked, option))
    initials = "".join(part[:1] for part in name.split("_"))
    if tail in (name, initials) and len(tail) > 1:
        return 1.0
    begins = 0.9 if len(tail) > 2 and name.startswith(tail) else 0.0
    pairs = (asked, option), (tail, name)
    return max(begins, *(difflib.SequenceMatcher(None, *pair).ratio() for pair in pairs))


def take_experiment(arguments: list[str], example: str) -> tuple[str, list[str]]:
    """Split off the experiment's name, which comes first.

    A folder after it, `gtn train photos PATH`, becomes `--data.name folder:PATH`.

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
        rest = ["--data.name", f"folder:{rest[0]}", *rest[1:]]
    return name, rest


def take_preset(arguments: list[str]) -> tuple[str | None, list[str]]:
    """Split off `--preset` and its value.

    Raises:
        ValueError: no such preset.
    """
    words = [part for argument in arguments for part in _split_preset(argument)]
    if "--preset" not in words:
        return None, arguments
    place = words.index("--preset")
    name = words[place + 1] if place + 1 < len(words) else ""
    if name not in PRESETS:
        raise ArgumentError("preset", str(unknown_name("preset", name, PRESETS)))
    return name, words[:place] + words[place + 2 :]


def _split_preset(argument: str) -> list[str]:
    return argument.split("=", 1) if argument.startswith("--preset=") else [argument]

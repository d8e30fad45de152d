"""Words of a command line -> values: experiment, preset, and the rest as tyro reads it.

tyro (https://brentyi.github.io/tyro/) turns functions and dataclasses into options; here its
errors become one sentence. Nothing heavy is imported.
"""

import contextlib
import difflib
import io
import re
import sys
from typing import Any

import tyro

from gtn_jax.errors import UsageError, unknown_name
from gtn_jax.experiment import shipped_experiments
from gtn_jax.presets import PRESETS


def parse(form: Any, prog: str, arguments: list[str], default: Any = None) -> Any:
    """Arguments as `form` (a function or dataclass) wants them; "-" and "_" are the same.

    Raises:
        SystemExit: 0 after --help; 2 after an error, which tyro draws as a box of many lines and
            which is said here in two.
    """
    options = {"default": default} if default is not None else {}
    shown, said = _Page(), io.StringIO()
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
            print(
                f"error: {_sentence(said.getvalue(), prog)}\nsee `{prog} --help`", file=sys.stderr
            )
        raise
    # What fields say together: tyro reports only the checks of a section.
    except ValueError as error:
        print(f"error: {error}\nsee `{prog} --help`", file=sys.stderr)
        raise SystemExit(2) from error
    if unknown:
        print(f"error: {_unknown_word(unknown, options_of(form, default), prog)}", file=sys.stderr)
        raise SystemExit(2)
    return value


class _Page(io.StringIO):
    """Help on its way to standard output: in colours and characters that are right for that."""

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


def _sentence(box: str, prog: str) -> str:
    """What tyro drew, in a sentence."""
    lines = [line.strip("╭╮╰╯│─ ") for line in box.splitlines()]
    lines = [line for line in lines if line.strip("-") and "full helptext" not in line.lower()]
    _, *words = lines or [""]  # the first one is a title, and says the same
    text = " ".join(line for line in words if not line.startswith(prog))
    choice = re.match(r"invalid choice '(.*)' for argument '(.*)'\. Expected one of \((.*)\)", text)
    if choice is None:
        return text[:400]
    found, argument, expected = choice.groups()
    known = [word.strip(" '") for word in expected.split(",") if word.strip(" '")]
    return f"{argument}: {unknown_name('choice', found, known)}"


def _unknown_word(words: list[str], known: list[str], prog: str) -> str:
    asked = [word.split("=", 1)[0] for word in words if word.startswith("-")]
    if not asked:
        return f"{words[0]!r} is a word too many; see `{prog} --help`"
    likeness = {option: _likeness(asked[0], option) for option in known}
    near = [option for option in known if likeness[option] >= _LIKE]
    near = sorted(near, key=lambda option: -likeness[option])[:3]
    hint = f"did you mean {' or '.join(near)}? (all: `{prog} --help`)"
    return f"unknown option '{asked[0]}'; {hint if near else f'all are in `{prog} --help`'}"


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
    """The experiment's name, which comes first, and the other arguments."""
    if not arguments or arguments[0].startswith("-"):
        names, (gtn, verb, shown, *_) = ", ".join(shipped_experiments()), example.split()
        is_asked = arguments in (["-h"], ["--help"])
        print(
            f"usage: {example}\nexperiments: {names}, or a .py file\n"
            f"options: {gtn} {verb} {shown} --help",
            file=sys.stdout if is_asked else sys.stderr,
        )
        raise SystemExit(0 if is_asked else 2)
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
        raise UsageError(str(unknown_name("preset", name, PRESETS)))
    return name, joined[:place] + joined[place + 2 :]


def _split_preset(argument: str) -> list[str]:
    return argument.split("=", 1) if argument.startswith("--preset=") else [argument]

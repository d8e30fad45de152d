"""An exception -> what `gtn` prints of it: one to three lines, in the words of the command line.

The library knows Python's arguments only. What it recommends stands in backticks, as
`allow_partial=True` or `prepare('dtd/1', source=PATH)`, and becomes `--allow-partial` or
`gtn prepare dtd/1 --source PATH` here.
"""

import ast
import re
import shlex

from gtn_jax.errors import ArgumentError

_OPTIONS = {
    "classes_file": "--classes",
    "count": "--devices",
    "data_name": "--data",
    "name": "EXPERIMENT",
    "paths": "PATH",
    "profiled": "--profile",
}
"""Argument -> how the command line spells it, where that is not `--` and the same name."""
_HINTED = (
    "allow_partial", "budget_minutes", "classes_file", "data_name", "images", "overwrite",
    "process", "processes", "source",
)  # fmt: skip
"""Arguments that the library recommends by themselves; a dependency's are left as they are."""
_VERBS = {"prepare": "prepare", "unfold_file": "convert"}
"""Function -> verb, of calls that the library recommends."""
_HINT = re.compile(rf"`((?:{'|'.join(_HINTED)})=[^`]+|(?:{'|'.join(_VERBS)})\([^`]*\))`")
_LINES = 3
_LINE_CHARACTERS = 2000


def describe_error(error: Exception) -> str:
    """What to tell a person about the exception that ended a command, in one to three lines."""
    return _HINT.sub(lambda found: f"`{_in_shell_words(found[1])}`", _described(error))


def option(argument: str) -> str:
    """An argument of the library as the command line spells it: "short_side" -> "--short-side"."""
    return _OPTIONS.get(argument, f"--{argument.replace('_', '-')}")


def _in_shell_words(code: str) -> str:
    """A call, or one keyword argument, as words for a shell; capitals are placeholders."""
    try:
        call = ast.parse(code if code.endswith(")") else f"_({code})", mode="eval").body
    except SyntaxError:  # a path with a quote in it, cut short
        return code
    if not isinstance(call, ast.Call):
        return code
    verb = _VERBS.get(ast.unparse(call.func))
    words = ["gtn", verb] if verb else []
    words += [_word(value) for value in call.args]
    for keyword in call.keywords:
        value = _word(keyword.value)
        words += [option(keyword.arg or ""), *([] if value == "True" else [value])]
    return " ".join(words)


def _word(value: ast.expr) -> str:
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        return shlex.quote(value.value)
    return ast.unparse(value)


def _described(error: Exception) -> str:
    if isinstance(error, ArgumentError):
        return _shortened(f"{option(error.argument)}: {error.message}", _LINES)
    text = str(error) or type(error).__name__
    # JAX's class for what a device reports has changed its name, and is not imported here.
    if type(error).__name__ in ("JaxRuntimeError", "XlaRuntimeError") and (
        "RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower()
    ):
        return (
            f"out of memory on the device ({_shortened(text, 1)})\n"
            "make data.batch_size or data.eval_batch_size smaller, raise "
            "training.accumulation_steps, or set model.compute_dtype to bfloat16"
        )
    if isinstance(error, MemoryError):
        return (
            f"out of memory on this machine ({_shortened(text, 1)})\n"
            "make data.batch_size or data.eval_batch_size smaller, or give it more memory"
        )
    if isinstance(error, ValueError | OSError):
        return _shortened(text, _LINES)
    return (
        f"unexpected {type(error).__name__}: {_shortened(text, 1)}\n"
        "this is a fault of gtn_jax, or of code that an experiment file brings: the same command "
        "with --debug shows where it is; please report what that prints"
    )


def _shortened(text: str, lines: int) -> str:
    found = [line[:_LINE_CHARACTERS] for line in text.strip().splitlines() if line.strip()]
    return "\n".join(found[:lines])

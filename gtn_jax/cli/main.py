"""Entry point of `gtn`.

Exit codes: 0 for success, 1 for an error (one to three lines; `--debug` shows the traceback) or if
standard output could not be written, 2 for usage, 130 after SIGINT (Ctrl-C), 143 after SIGTERM;
docs/reliability.md describes how a supervisor uses them. The commands are in commands/.
"""

import shlex
import sys
import warnings

from gtn_jax.cli.commands import RESUMING, VERBS
from gtn_jax.cli.error_text import describe_error
from gtn_jax.cli.terminal import print_error, steady_output
from gtn_jax.config.experiment import shipped_experiments
from gtn_jax.errors import ArgumentError, unknown_name
from gtn_jax.runtime.interruption import Interrupted, active, caught, leave_within


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code.

    `arguments` come without the program's name; None: those of the process.
    """
    # Pillow warns of damaged EXIF blocks, which are common and harmless.
    warnings.filterwarnings("ignore", message=".*orrupt EXIF", module="PIL")
    is_process = arguments is None
    typed = list(sys.argv[1:] if arguments is None else arguments)
    with steady_output() as output:
        try:
            code = _interruptible(typed, is_process)
        except SystemExit as stopped:  # --help, or usage
            if output.failure() is None:
                raise
            code = int(stopped.code or 0)
        lost = output.failure()
        if lost is not None and code == 0:
            print_error(
                f"standard output: {lost.strerror or lost}; all the rest of the job is done"
            )
            return 1
    return code


def _interruptible(typed: list[str], is_process: bool) -> int:
    with caught():
        try:
            return _run(typed)
        except Interrupted as interrupted:
            if is_process:
                leave_within(5.0, interrupted.exit_code)
            print(interrupted, file=sys.stderr)
            print(_what_next(typed), file=sys.stderr)
            return interrupted.exit_code
        except KeyboardInterrupt:  # where no handler could be installed
            print(f"interrupted\n{_what_next(typed)}", file=sys.stderr)
            return 130


def _run(arguments: list[str]) -> int:
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        return 0 if arguments else 2
    try:
        if arguments[0] not in VERBS:
            print_error(str(unknown_name("command", arguments[0], VERBS)))
            return 2
        VERBS[arguments[0]](arguments[1:])
    except ArgumentError as error:
        if debug:
            raise
        print_error(describe_error(error))
        return 2
    # Also unexpected errors, as a traceback does not help most users.
    except Exception as error:
        active().check_raised()
        if debug:
            raise
        print_error(describe_error(error))
        return 1
    return 0


def _what_next(typed: list[str]) -> str:
    command = shlex.join(["gtn", *typed])
    if next((word for word in typed if word != "--debug"), "") in RESUMING:
        return f"resume: {command}"
    return f"start over: {command}"


def _help() -> str:
    lines = [
        "usage: gtn COMMAND ... (gtn COMMAND --help for details; --debug shows tracebacks)",
        "",
    ]
    for name, verb in VERBS.items():
        lines.append(f"  {name:<12}{(verb.__doc__ or '').strip().partition(chr(10))[0]}")
    return "\n".join([*lines, "", "experiments: " + ", ".join(shipped_experiments())])

"""Shell completion of commands, experiments and options, as a script for bash or zsh.

Options come from the help texts; a form with every config field has about a hundred.
"""

import contextlib
import io
from collections.abc import Callable, Mapping

from gtn_jax.cli.arguments import options_in
from gtn_jax.config.experiment import shipped_experiments

_SCRIPT = """# {name} completion of gtn; in ~/.{name}rc:  eval "$(gtn completion {name})"
{start}_gtn() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" verb="${{COMP_WORDS[1]}}"
    local words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{verbs} --help"
    else
        case "$verb" in
{cases}
        esac
    fi
    COMPREPLY=()
    if [ -n "$words" ]; then COMPREPLY=($(compgen -W "$words" -- "$word")); fi
    case "$word" in
        -*) ;;
        *) [ "$COMP_CWORD" -eq 1 ] || COMPREPLY+=($(compgen -f -- "$word")) ;;
    esac
}}
complete -o filenames -F _gtn gtn
"""
_START = {"bash": "", "zsh": "autoload -U +X bashcompinit && bashcompinit\n"}


def completion(
    shell: str,
    verbs: Mapping[str, Callable[[list[str]], None]],
    words_of: Mapping[str, tuple[str, ...]],
) -> str:
    """A completion script for "bash" or "zsh".

    `verbs` is name -> command, `words_of` command -> words that can follow it.
    """
    cases = []
    for name, verb in verbs.items():
        first = words_of.get(name, ())
        # Some commands have their options after an experiment's name.
        asked = [first[0], "--help"] if name in _OF_EXPERIMENTS else ["--help"]
        words = " ".join((*first, *_options(verb, asked)))
        cases.append(f'            {name}) words="{words}" ;;')
    return _SCRIPT.format(
        name=shell, start=_START[shell], verbs=" ".join(verbs), cases="\n".join(cases)
    )


def _options(verb: Callable[[list[str]], None], arguments: list[str]) -> list[str]:
    page = io.StringIO()
    with contextlib.redirect_stdout(page), contextlib.suppress(SystemExit):
        verb(arguments)
    return options_in(page.getvalue())


_OF_EXPERIMENTS = ("train", "compare")


def words_after(verbs: Mapping[str, object], lists: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Command -> names that can follow it; `lists` are the topics of `gtn list`."""
    experiments = tuple(shipped_experiments())
    return {name: experiments for name in _OF_EXPERIMENTS if name in verbs} | {
        "list": lists, "completion": tuple(_START), "checkpoint": ("verify",),
    }  # fmt: skip

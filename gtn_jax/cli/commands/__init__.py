"""The commands of `gtn`: each parses its arguments, calls one function and prints the result.

Nothing heavy is imported before a command runs.
"""

from gtn_jax.cli.commands.analysis import compare, gates, quickstart, report
from gtn_jax.cli.commands.data import check_data, prepare
from gtn_jax.cli.commands.fit import fit
from gtn_jax.cli.commands.inference import convert, evaluate, export, predict
from gtn_jax.cli.commands.installation import benchmark, completion, doctor, list_names
from gtn_jax.cli.commands.training import checkpoint, train

RESUMING = ("quickstart", "fit", "train", "compare")
"""Commands that resume after a signal; the others start over."""
VERBS = {
    "quickstart": quickstart,
    "fit": fit,
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
"""Name -> command, in the order of `gtn --help`."""

"""The verbs of `gtn`: each reads its arguments, calls one function and prints what came of it.

A file a room: the verbs of gtn_jax/data are in data.py, and so on. Nothing heavy is imported before
a verb runs. No logic here: that is in the rooms.
"""

from gtn_jax.cli.commands.analysis import compare, gates, quickstart, report
from gtn_jax.cli.commands.data import check_data, prepare
from gtn_jax.cli.commands.fit import fit
from gtn_jax.cli.commands.inference import evaluate, export, predict
from gtn_jax.cli.commands.installation import benchmark, completion, doctor, list_names
from gtn_jax.cli.commands.training import checkpoint, train
from gtn_jax.cli.commands.weights import convert

RESUMING = ("quickstart", "fit", "train", "compare")
"""Verbs that go on where a signal stopped them; the others start over."""
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
"""Name -> verb, in the order of `gtn --help`."""
